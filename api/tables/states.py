"""The states of a job, each with a sentence, and the transitions between them."""

from enum import StrEnum


class Status(StrEnum):
    """Status of a job."""

    QUEUED = "queued"  # waits for a worker, an upload's check, or another job
    STARTING = "starting"  # a worker has claimed it and prepares the trainer
    RUNNING = "running"  # the trainer is running
    PAUSING = "pausing"  # pause requested; the trainer finishes its epoch, or is stopping
    PAUSED = "paused"  # paused by its owner: no worker holds it or may claim it
    CANCELLING = "cancelling"  # cancel requested; the trainer is stopping
    SUCCEEDED = "succeeded"  # finished, with result and weights
    FAILED = "failed"  # ended with a reason
    CANCELLED = "cancelled"  # stopped by its owner


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
ENDED_EARLY = frozenset({Status.FAILED, Status.CANCELLED})  # its owner may retry it
DELETABLE = TERMINAL | {Status.PAUSED}  # no worker holds it or may claim it
HELD = frozenset({Status.STARTING, Status.RUNNING, Status.PAUSING, Status.CANCELLING})  # a worker holds the lease

MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.STARTING, Status.PAUSED, Status.CANCELLED, Status.FAILED}),
    # back to queued: the lease was lost, or the worker was drained
    Status.STARTING: frozenset({Status.RUNNING, Status.PAUSING, Status.CANCELLING, Status.QUEUED, *TERMINAL}),
    Status.RUNNING: frozenset({Status.PAUSING, Status.CANCELLING, Status.QUEUED, *TERMINAL}),
    Status.PAUSING: frozenset({Status.PAUSED, Status.CANCELLING, Status.SUCCEEDED, Status.FAILED}),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED, Status.FAILED}),
    Status.CANCELLING: frozenset({Status.CANCELLED, Status.SUCCEEDED, Status.FAILED}),
    Status.SUCCEEDED: frozenset(),
    # only by their owner, with `retry`: workers and reaper never change an ended job
    **{status: frozenset({Status.QUEUED}) for status in ENDED_EARLY},
}


def sources(target: Status) -> list[Status]:
    """Return the states from which a job may move to `target`: the WHERE of every conditional UPDATE.

    >>> sources(Status.PAUSING)
    [<Status.STARTING: 'starting'>, <Status.RUNNING: 'running'>]
    """
    return [status for status, targets in MOVES.items() if target in targets]
