"""The protocol as a state space: jobs, workers, broker, reaper and owner, any of which moves next, and what fails.

A step is one transaction, one message or one file. Time is not counted: a lease may run out at any step, whether its
worker crashed, froze or was cut off. Faults and the owner's moves draw on a budget, which keeps the space finite;
everything else may go on for ever. A garbage message is one without a row behind it, exactly like a duplicate.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from api.tables.states import HELD, TERMINAL, Status
from tests.protocol import row as rows
from tests.protocol.row import OWNER, Fenced, Row, Rules

T = TypeVar("T")
MAX_BELLS = 1  # messages in the queue


class Worker(NamedTuple):
    """A worker process with its trainer."""

    at: str = "idle"  # idle, working, stored, published, leaving
    job: int = 0  # the job that it holds, or believes to hold, and its attempt
    attempt: int = 0
    slot: str = "free"  # for messages; taken: until it acknowledges; kept: its acknowledgement failed


IDLE = Worker()


class World(NamedTuple):
    """A state of everything."""

    jobs: tuple[Row, ...]
    bytes: tuple[frozenset[int], ...]  # of each job: the attempts whose files are in the store
    workers: tuple[Worker, ...]
    bells: int = 1
    broker: bool = True
    faults: int = 0  # that may still happen
    wishes: int = 0  # moves that the owner may still make


class Step(NamedTuple):
    """A step, and where it leads."""

    name: str
    world: World
    fair: bool  # it happens sooner or later where it stays possible; neither a fault nor a person's whim


@dataclass(frozen=True)
class Model:
    """The steps of a world under some rules; each job but the first needs the one before it."""

    rules: Rules = rows.RULES
    jobs: int = 1
    workers: int = 2
    faults: int = 2
    wishes: int = 2

    def first(self) -> World:
        jobs = tuple(Row() for _ in range(self.jobs))
        files: tuple[frozenset[int], ...] = (frozenset(),) * self.jobs
        return World(jobs, files, (IDLE,) * self.workers, faults=self.faults, wishes=self.wishes)

    def steps(self, world: World) -> Iterator[Step]:
        for index in range(len(world.workers)):
            # Workers are alike: the first of several in the same state moves for all of them.
            if world.workers[index] not in world.workers[:index]:
                yield from self._worker(world, index)
        for number in range(len(world.jobs)):
            yield from self._reaper(world, number)
            yield from self._owner(world, number)
        yield from self._broker(world)

    # -- a worker

    def _worker(self, world: World, index: int) -> Iterator[Step]:
        me = world.workers[index]
        if me.at == "idle":
            yield from self._listen(world, index)
        elif me.at == "leaving":
            answer, slot = ("acknowledges its message", "free") if world.broker else ("fails to acknowledge", "kept")
            yield Step(f"a worker {answer}", _with(world, index, Worker(slot=slot)), True)
        else:
            yield from self._work(world, index)
        if world.faults and me != IDLE:
            # Its message is delivered again a day later: too late to count on.
            name = f"{_name(me)} is killed and started again"
            yield Step(name, _with(_fault(world), index, IDLE), False)

    def _listen(self, world: World, index: int) -> Iterator[Step]:
        me = world.workers[index]
        if world.broker and world.bells and me.slot == "free":
            taken = world._replace(bells=world.bells - 1)
            heard = me._replace(slot="taken" if self.rules.late_ack else "free")
            yield from self._claim(taken, index, "a worker takes a message", heard)
        if self.rules.timer:
            yield from self._claim(world, index, "a worker looks for work", me)

    def _claim(self, world: World, index: int, how: str, me: Worker) -> Iterator[Step]:
        ready = (n for n, row in enumerate(world.jobs) if row.status == Status.QUEUED and self._ready(world, n))
        number = next(ready, None)
        if number is None:
            yield Step(f"{how}, finds none", _with(world, index, _left(me)), True)
            return
        claimed = _put(world, number, rows.claim(world.jobs[number], self.rules))
        mine = me._replace(at="working", job=number, attempt=claimed.jobs[number].attempt)
        yield Step(f"{how}, claims {_job(mine)}", _with(claimed, index, mine), True)
        if world.faults:
            lost = _with(_fault(claimed), index, _left(me))
            yield Step(f"{how}, claims {_job(mine)}; the COMMIT's answer is lost", lost, False)

    def _ready(self, world: World, number: int) -> bool:
        return not number or world.jobs[number - 1].status == Status.SUCCEEDED

    def _work(self, world: World, index: int) -> Iterator[Step]:
        me = world.workers[index]
        row, who = world.jobs[me.job], _name(me)
        yield from self._write(world, index, f"{who} renews", rows.renew, me)
        if me.at == "working":
            stored = world.bytes[me.job] | {me.attempt}
            files = _replaced(world.bytes, me.job, stored)
            yield Step(f"{who} stores files", _with(world._replace(bytes=files), index, me._replace(at="stored")), True)
            yield from self._write(world, index, f"{who} fails", partial(rows.finish, end=Status.FAILED), _left(me))
        if me.at == "stored":
            yield from self._write(world, index, f"{who} publishes", rows.publish, me._replace(at="published"))
        if me.at == "published":
            succeed = partial(rows.finish, end=Status.SUCCEEDED)
            yield from self._write(world, index, f"{who} succeeds", succeed, _left(me))
        if row.status == Status.CANCELLING:
            cancel = partial(rows.finish, end=Status.CANCELLED)
            yield from self._write(world, index, f"{who} confirms the cancel", cancel, _left(me))
        if row.status == Status.PAUSING:
            yield from self._write(world, index, f"{who} gives it back", rows.requeue, _left(me))
        elif world.faults:
            yield from self._write(_fault(world), index, f"{who} is drained, gives it back", rows.requeue, _left(me))

    def _write(
        self, world: World, index: int, name: str, statement: Callable[..., Row], then: Worker
    ) -> Iterator[Step]:
        """Send a fenced statement: it is taken, or refused, or taken without the worker's hearing of it."""
        me = world.workers[index]
        try:
            written = _put(world, me.job, statement(world.jobs[me.job], me.attempt, rules=self.rules))
        except Fenced:
            if statement is rows.publish and self.rules.delete_fenced:
                name += " and is fenced; deletes its files"
                gone = world.bytes[me.job] - {me.attempt}
                world = world._replace(bytes=_replaced(world.bytes, me.job, gone))
            else:
                name += " and is fenced"
            yield Step(name, _with(world, index, _left(me)), True)
            return
        yield Step(name, _with(written, index, then), True)
        if then != me and world.faults:  # it tries again, or is killed
            yield Step(f"{name}; the COMMIT's answer is lost", _fault(written), False)

    # -- everybody else

    def _reaper(self, world: World, number: int) -> Iterator[Step]:
        row, who = world.jobs[number], f"job {number + 1}"
        moves = {f"the lease of {who} runs out": rows.lapse(row), f"the reaper takes {who} back": self._expire(row)}
        if number and _never(world.jobs[number - 1]):
            moves[f"{who} fails: what it waits for will never be ready"] = rows.fail_waiting(row, self.rules)
        if self.rules.tell_later:
            moves[f"the sender tells the end of {who}"] = rows.tell(row)
        yield from (Step(name, _put(world, number, after), True) for name, after in moves.items() if after != row)
        if row.status == Status.QUEUED and world.broker and world.bells < MAX_BELLS:
            yield Step(f"the reaper rings for {who}", world._replace(bells=world.bells + 1), True)
        if row.status is None or row.status in TERMINAL:  # by asking the rows
            named = world.bytes[number] & row.artifacts
            if named != world.bytes[number]:
                files = _replaced(world.bytes, number, named)
                yield Step(f"the collector removes files of {who} that no row names", world._replace(bytes=files), True)

    def _expire(self, row: Row) -> Row:
        return rows.expire(row, self.rules)

    def _owner(self, world: World, number: int) -> Iterator[Step]:
        for wish, statement in OWNER.items() if world.wishes else ():
            before = world.jobs[number]
            after = statement(before) if wish == "delete" else statement(before, self.rules)
            if after != before:
                asked = _put(world, number, after)._replace(wishes=world.wishes - 1)
                yield Step(f"the owner: {wish} job {number + 1}", asked, False)

    def _broker(self, world: World) -> Iterator[Step]:
        if not world.broker:
            yield Step("the broker comes back", world._replace(broker=True), True)
        if not world.faults:
            return
        if world.broker:
            yield Step("the broker goes away", _fault(world)._replace(broker=False), False)
        if world.bells:
            yield Step("a message is lost", _fault(world)._replace(bells=world.bells - 1), False)
        if world.bells < MAX_BELLS:
            yield Step("a message comes twice, or of garbage", _fault(world)._replace(bells=world.bells + 1), False)


def wrong(before: World, after: World) -> str | None:
    """Return the safety property that a step breaks, if any."""
    if before.jobs is after.jobs and before.bytes is after.bytes:
        return None
    for was, row, files in zip(before.jobs, after.jobs, after.bytes, strict=True):
        if row.ends > 1:
            return "a job has ended twice"
        if was.status in TERMINAL and row.status not in (was.status, None) and not row.ends < was.ends:
            return f"a job that had {was.status} moved without a retry"
        if any(attempt != was.attempt for attempt in row.artifacts - was.artifacts):
            return "an attempt published after another had taken the job"
        if not row.artifacts <= files:
            return "an artifact's row stands without its bytes"
        if row.leased and row.status not in HELD:
            return "a job that nobody works on has a lease"
        if row.untold and row.status not in TERMINAL:
            return "an end was never told"
    return None


def canonical(world: World) -> World:
    """Return the representative of all states that behave like this one, which keeps the space small.

    Workers are interchangeable, so their order does not matter. Attempt numbers matter by their order alone, and an
    attempt that no worker is at any more, and whose files all have rows, does not matter at all.
    """
    workers, jobs, files = list(world.workers), list(world.jobs), list(world.bytes)
    for number, row in enumerate(jobs):
        live = {worker.attempt for worker in workers if worker.job == number}
        live |= {row.attempt, 0} | (row.artifacts ^ files[number])
        if len(live) == row.attempt + 1:
            continue  # nothing to forget
        rank = {attempt: place for place, attempt in enumerate(sorted(live))}
        published = frozenset(rank[attempt] for attempt in row.artifacts & live)
        jobs[number] = row._replace(attempt=rank[row.attempt], artifacts=published)
        files[number] = frozenset(rank[attempt] for attempt in files[number] & live)
        workers = [w._replace(attempt=rank[w.attempt]) if w.job == number else w for w in workers]
    return world._replace(jobs=tuple(jobs), bytes=tuple(files), workers=tuple(sorted(workers)))


def at_rest(world: World) -> bool:
    """Return whether nothing is left to do: nothing waits, no slot is held, every end is told, no file is stray."""
    ended = [row.status is None or row.status in TERMINAL for row in world.jobs]
    held_back = [any(row.status == Status.PAUSED for row in world.jobs[: n + 1]) for n in range(len(world.jobs))]
    settled = all(done or waits for done, waits in zip(ended, held_back, strict=True))
    free = all(worker == IDLE for worker in world.workers)
    return settled and free and world.broker and not any(row.untold for row in world.jobs) and _tidy(world)


def _tidy(world: World) -> bool:
    """Return whether every file has a row; a paused job may keep stray files, since it will go on."""
    pairs = zip(world.jobs, world.bytes, strict=True)
    return all(files == row.artifacts or row.status == Status.PAUSED for row, files in pairs)


def _never(needed: Row) -> bool:
    return needed.status in (None, Status.FAILED, Status.CANCELLED)


def _left(worker: Worker) -> Worker:
    return Worker("leaving", slot="taken") if worker.slot == "taken" else Worker(slot=worker.slot)


def _name(worker: Worker) -> str:
    return f"the worker of {_job(worker)}" if worker.attempt else "a worker"


def _job(worker: Worker) -> str:
    return f"job {worker.job + 1} attempt {worker.attempt}"


def _fault(world: World) -> World:
    return world._replace(faults=world.faults - 1)


def _with(world: World, index: int, worker: Worker) -> World:
    return world._replace(workers=_replaced(world.workers, index, worker))


def _put(world: World, number: int, row: Row) -> World:
    return world._replace(jobs=_replaced(world.jobs, number, row))


def _replaced(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])
