"""How attempts end that do not end by themselves: each with a reason for programs and a sentence for people."""

import errno
import signal
from dataclasses import replace

from sqlalchemy.exc import StatementError

from api.jobs.lifecycle import Ending
from api.tables.states import Status
from rdrkd.paths import without_paths
from rdrkd.reasons import Reason
from worker.lease import Order

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ORDERED = {  # the orders that end the job; the others give it back, or leave it to whoever holds it
    Order.CANCEL: Ending(Status.CANCELLED, Reason.USER_CANCELLED, "cancelled on request"),
    Order.DEADLINE: Ending(Status.FAILED, Reason.DEADLINE_EXCEEDED, "had not ended by its deadline and was stopped"),
    Order.TIMEOUT: Ending(Status.FAILED, Reason.TIMEOUT, "ran past its timeout_seconds and was stopped"),
}


def nonsense(event: str, detail: str) -> Ending:
    """Name the end of a job whose trainer tells what cannot be."""
    message = f"the trainer wrote an event `{event}` that cannot be kept: {without_paths(detail)}"
    return Ending(Status.FAILED, Reason.INTERNAL, message)


def without_room(ending: Ending, shortage: str) -> Ending:
    """Name the end of a job that has failed for no known reason while the worker's disk was nearly full."""
    return replace(ending, reason=Reason.DISK_FULL, message=f"{ending.message} (the disk: {shortage})")


def our_fault(error: Exception) -> Ending:
    """Name the end of a job whose worker failed."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        message = "the worker has no space left to keep a checkpoint; the earlier ones stand"
        return Ending(Status.FAILED, Reason.DISK_FULL, message)
    told = "" if isinstance(error, StatementError) else f": {without_paths(str(error))}"  # holds values of the row
    message = f"the worker failed: {type(error).__name__}{told}"
    return Ending(Status.FAILED, Reason.INTERNAL, message)


def unexplained(status: int, words: str) -> Ending:
    """Name the end of a trainer that went without a word.

    Args:
        status: its exit status; negative: the signal that killed it.
        words: the last lines of its log.

    >>> unexplained(-9, "").reason
    <Reason.OOM_HOST: 'oom_host'>
    """
    if status == -signal.SIGKILL:
        message = (
            "the trainer was killed from outside (SIGKILL), as the kernel does when the machine's memory is used up"
        )
        return Ending(Status.FAILED, Reason.OOM_HOST, message)
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return Ending(Status.FAILED, Reason.INTERNAL, f"the trainer ended without a word, {how}; its last lines: {words}")
