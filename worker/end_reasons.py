"""Endings of attempts whose trainer did not report its own: a reason for programs and a message for people."""

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
ORDERED = {  # the orders that end the job; the others re-queue it, or leave it to the attempt that now holds it
    Order.CANCEL: Ending(Status.CANCELLED, Reason.USER_CANCELLED, "cancelled on request"),
    Order.DEADLINE: Ending(Status.FAILED, Reason.DEADLINE_EXCEEDED, "had not ended by its deadline and was stopped"),
    Order.TIMEOUT: Ending(Status.FAILED, Reason.TIMEOUT, "ran past its timeout_seconds and was stopped"),
}


def invalid_event(event: str, detail: str) -> Ending:
    """Return the ending of a job whose trainer wrote an invalid event."""
    message = f"the trainer wrote an event `{event}` that cannot be stored: {without_paths(detail)}"
    return Ending(Status.FAILED, Reason.INTERNAL, message)


def disk_full(ending: Ending, shortage: str) -> Ending:
    """Return the ending of a job that failed for an unknown reason while the worker's disk was nearly full."""
    return replace(ending, reason=Reason.DISK_FULL, message=f"{ending.message} (the disk: {shortage})")


def worker_failure(error: Exception) -> Ending:
    """Return the ending of a job whose worker failed."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        message = "the worker has no space left to store a checkpoint; earlier checkpoints are kept"
        return Ending(Status.FAILED, Reason.DISK_FULL, message)
    # The text of a StatementError contains the row's values.
    detail = "" if isinstance(error, StatementError) else f": {without_paths(str(error))}"
    message = f"the worker failed: {type(error).__name__}{detail}"
    return Ending(Status.FAILED, Reason.INTERNAL, message)


def unreported_exit(status: int, words: str) -> Ending:
    """Return the ending of a job whose trainer exited without reporting a result.

    Args:
        status: its exit status; negative: the signal that killed it.
        words: the last lines of its log.

    >>> unreported_exit(-9, "").reason
    <Reason.OOM_HOST: 'oom_host'>
    """
    if status == -signal.SIGKILL:
        message = (
            "the trainer was killed from outside (SIGKILL), as the kernel does when the machine runs out of memory"
        )
        return Ending(Status.FAILED, Reason.OOM_HOST, message)
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return Ending(
        Status.FAILED, Reason.INTERNAL, f"the trainer exited without a result, {how}; its last lines: {words}"
    )
