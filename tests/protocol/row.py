"""A job's row in the model of the protocol: what each statement of the code does to it.

Statuses, legal moves and sets of statuses come from `api.tables.states`. `test_conformance` checks the rest of this
file against what `api.jobs.lifecycle`, `control` and `repair` do on a real database.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from api.tables.states import DELETABLE, ENDED_EARLY, HELD, MOVES, TERMINAL, Status

MAX_LOST = 1  # workers that a row may lose before it fails


class Row(NamedTuple):
    """A job's row; the last two fields are the model's own, for its properties."""

    status: Status | None = Status.QUEUED  # None: the row was deleted
    attempt: int = 0  # the fencing token
    leased: bool = False  # the lease has not run out
    lost: int = 0
    artifacts: frozenset[int] = frozenset()  # attempts that have published
    ends: int = 0  # since it was queued or last retried
    untold: bool = False  # it has ended, and no message was written of that


class Fenced(Exception):
    """The UPDATE of an attempt changed nothing: the row is no longer its own."""


@dataclass(frozen=True)
class Rules:
    """The rules of the protocol; each one that differs from its default is a fault that the explorer must find."""

    late_ack: bool = False  # a message is acknowledged after its job, and a failed acknowledgement keeps the only slot
    timer: bool = True  # an idle worker looks for claimable rows without being rung for
    delete_fenced: bool = False  # an attempt that is fenced while it publishes deletes what it has stored
    tell_later: bool = False  # ends are read off the row later, not written in the transaction that ends it
    unfenced: bool = False  # an attempt writes whatever the row's attempt is
    moves: dict[Status, frozenset[Status]] = field(default_factory=lambda: MOVES, hash=False, repr=False)


RULES = Rules()


def claim(row: Row, rules: Rules = RULES) -> Row:
    if row.status != Status.QUEUED:
        return row
    return _move(row, Status.STARTING, rules)._replace(attempt=row.attempt + 1, leased=True)


def renew(row: Row, attempt: int, rules: Rules = RULES) -> Row:
    """Renew the lease with news of progress."""
    return start(row, attempt, rules)._replace(leased=True)


def start(row: Row, attempt: int, rules: Rules = RULES) -> Row:
    _fence(row, attempt, rules)
    return _move(row, Status.RUNNING, rules) if row.status == Status.STARTING else row


def publish(row: Row, attempt: int, rules: Rules = RULES) -> Row:
    _fence(row, attempt, rules)
    return row._replace(artifacts=row.artifacts | {attempt})


def finish(row: Row, attempt: int, end: Status, rules: Rules = RULES) -> Row:
    _fence(row, attempt, rules)
    if not _may(row, end, rules):
        raise Fenced
    return _end(row, end, rules)


def requeue(row: Row, attempt: int, rules: Rules = RULES) -> Row:
    _fence(row, attempt, rules)
    if row.status == Status.CANCELLING:
        return _end(row, Status.CANCELLED, rules)
    return _move(row, Status.PAUSED if row.status == Status.PAUSING else Status.QUEUED, rules)._replace(leased=False)


def abandon(row: Row, attempt: int, rules: Rules = RULES) -> Row:
    _fence(row, attempt, rules)
    return row._replace(leased=False)


def lapse(row: Row) -> Row:
    """Let the lease run out: time passes."""
    return row._replace(leased=False)


def expire(row: Row, rules: Rules = RULES) -> Row:
    if row.status not in HELD or row.leased:
        return row
    if row.status == Status.PAUSING:
        return _move(row, Status.PAUSED, rules)
    if row.status == Status.CANCELLING:
        return _end(row, Status.CANCELLED, rules)
    if row.lost >= MAX_LOST:
        return _end(row, Status.FAILED, rules)._replace(lost=row.lost + 1)
    return _move(row, Status.QUEUED, rules)._replace(lost=row.lost + 1)


def fail_waiting(row: Row, rules: Rules = RULES) -> Row:
    """End a queued job that can never start."""
    return _end(row, Status.FAILED, rules) if row.status == Status.QUEUED else row


def cancel(row: Row, rules: Rules = RULES) -> Row:
    if row.status in (Status.QUEUED, Status.PAUSED):
        return _end(row, Status.CANCELLED, rules)
    return _move(row, Status.CANCELLING, rules) if _may(row, Status.CANCELLING, rules) else row


def pause(row: Row, rules: Rules = RULES) -> Row:
    if row.status == Status.QUEUED:
        return _move(row, Status.PAUSED, rules)
    return _move(row, Status.PAUSING, rules) if _may(row, Status.PAUSING, rules) else row


def resume(row: Row, rules: Rules = RULES) -> Row:
    return _move(row, Status.QUEUED, rules) if row.status == Status.PAUSED else row


def retry(row: Row, rules: Rules = RULES) -> Row:
    if row.status not in ENDED_EARLY:
        return row
    return _move(row, Status.QUEUED, rules)._replace(lost=0, ends=0)


def delete(row: Row) -> Row:
    return row._replace(status=None, leased=False, artifacts=frozenset()) if row.status in DELETABLE else row


def tell(row: Row) -> Row:
    """Write the message of an end in a later transaction (the old rule), which misses ends that are gone by then."""
    return row._replace(untold=False) if row.status in TERMINAL else row


OWNER: dict[str, Callable[[Row], Row]] = {
    "cancel": cancel, "pause": pause, "resume": resume, "retry": retry, "delete": delete,
}  # fmt: skip


def statements(row: Row) -> Iterator[tuple[str, Callable[[Row], Row]]]:
    """Yield the name and the effect of every statement that anyone may send to this row, late attempts included."""
    yield from OWNER.items()
    yield from {"claim": claim, "lapse": lapse, "expire": expire, "fail_waiting": fail_waiting}.items()
    for attempt in range(1, row.attempt + 1):
        for function in (renew, start, publish, requeue, abandon):
            yield f"{function.__name__} {attempt}", lambda row, f=function, a=attempt: f(row, a)
        for end in sorted(TERMINAL):
            yield f"finish {attempt} {end}", lambda row, a=attempt, e=end: finish(row, a, e)


def _may(row: Row, target: Status, rules: Rules) -> bool:
    return row.status is not None and target in rules.moves[row.status]


def _move(row: Row, target: Status, rules: Rules) -> Row:
    assert _may(row, target, rules), f"the table of moves has no {row.status} -> {target}"
    return row._replace(status=target)


def _end(row: Row, target: Status, rules: Rules) -> Row:
    return _move(row, target, rules)._replace(leased=False, ends=row.ends + 1, untold=rules.tell_later)


def _fence(row: Row, attempt: int, rules: Rules) -> None:
    if row.status not in HELD or (row.attempt != attempt and not rules.unfenced):
        raise Fenced
