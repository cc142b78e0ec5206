"""What must hold once everything has come to rest, read from database, store and receiver."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain, pairwise

from sqlalchemy import select

from api.jobs.events.service import Type
from api.jobs.service import COMPARE
from api.storage import deletions, unreferenced
from api.tables.attempts import JobAttempt
from api.tables.datasets import Dataset
from api.tables.events import JobEvent
from api.tables.jobs import Artifact, Job
from api.tables.states import TERMINAL, Status
from api.tables.studies import Study, StudyMember
from api.tables.webhooks import Delivery, DeliveryStatus
from tests.faults.injectors import Injector
from tests.faults.owner import Owner
from tests.faults.receiver import Receiver
from tests.faults.stand import Stand

Violations = dict[str, list[str]]


class Invariants:
    """The state at rest."""

    def __init__(self, stand: Stand, owner: Owner, receiver: Receiver, injector: Injector) -> None:
        self.stand, self.owner, self.receiver, self.injector = stand, owner, receiver, injector
        with stand.database.transaction() as session:
            self.jobs = {job.id: job for job in session.scalars(select(Job))}
            self.attempts = list(session.scalars(select(JobAttempt)))
            self.artifacts = list(session.scalars(select(Artifact)))
            self.deliveries = list(session.scalars(select(Delivery)))
            self.datasets = list(session.scalars(select(Dataset)))
            self.of_studies = {
                *session.scalars(select(StudyMember.job_id)),
                *session.scalars(select(Study.teacher_job)),
                *session.scalars(select(Job.id).where(Job.kind == COMPARE)),
            }
            self.events: dict[str, list[JobEvent]] = defaultdict(list)
            for event in session.scalars(select(JobEvent).order_by(JobEvent.job_id, JobEvent.seq)):
                self.events[event.job_id].append(event)

    def violations(self) -> Violations:
        """Return what does not hold, by invariant; those that hold have no entry."""
        checks = {
            "lost": self.lost, "double": self.double, "not ended": self.not_ended, "moved after its end": self.moved,
            "untold": self.untold, "without bytes": self.without_bytes, "gap in the events": self.gaps,
            "orphan": self.orphaned, "lease left": self.leases, "file without a row": self.files,
        }  # fmt: skip
        found = {name: list(check()) for name, check in checks.items()}
        return {name: told for name, told in found.items() if told}

    def lost(self) -> Iterator[str]:
        """A job that was accepted and is not there."""
        gone = set(self.owner.accepted.values()) - self.jobs.keys() - self.owner.deleted
        yield from (f"{job}: it was accepted and is not there" for job in gone)

    def double(self) -> Iterator[str]:
        """A job that nobody has asked for, or that was worked on after it had succeeded."""
        strays = self.jobs.keys() - set(self.owner.accepted.values()) - self.of_studies
        if len(strays) > self.owner.did["unanswered"]:
            yield f"{len(strays)} jobs were made twice: {sorted(strays)[:5]}"
        succeeded = Counter(one.job_id for one in self.attempts if one.outcome == "succeeded")
        yield from (f"{job}: succeeded {times} times" for job, times in succeeded.items() if times > 1)

    def not_ended(self) -> Iterator[str]:
        yield from (f"{job.id}: {job.status}, attempt {job.attempt}" for job in self._unended())

    def _unended(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.status not in TERMINAL]

    def moved(self) -> Iterator[str]:
        """A job that went on after its end without its owner's retry."""
        for job, statuses in self._statuses():
            for before, after in pairwise(statuses):
                if before["to"] in TERMINAL and (after["to"], after["reason"]) != (Status.QUEUED, "retry"):
                    yield f"{job}: {before['to']}, then {after['to']} ({after['reason']})"

    def untold(self) -> Iterator[str]:
        """An end that no webhook was told of, by the receiver's own account."""
        heard: Counter[tuple[str, str]] = Counter()
        for about, event, _ in {(told.about, told.event, told.message) for told in self.receiver.taken}:
            heard[about, event] += 1
        for job, statuses in self._statuses():
            if self.jobs[job].kind == COMPARE:
                continue
            for end, times in Counter(one["to"] for one in statuses if one["to"] in TERMINAL).items():
                if heard[job, f"job.{end}"] < times:
                    yield f"{job}: {end} {times} times, told {heard[job, f'job.{end}']} times"
        ever = {about for about, _ in heard}
        yield from (f"{job}: ended, was deleted, and never told" for job in self.owner.deleted - ever)
        yield from (f"{study}: finished, and never told" for study in set(self.owner.studies) - ever)

    def _statuses(self) -> Iterator[tuple[str, list[dict[str, str]]]]:
        for job in self.jobs:
            yield job, [event.data for event in self.events[job] if event.type == Type.STATUS]

    def without_bytes(self) -> Iterator[str]:
        """A row whose file is missing or another; what was torn on purpose does not count."""
        storage = self.stand.storage()
        for row in chain(self.artifacts, (one for one in self.datasets if one.key is not None)):
            if not storage.exists(row.key):
                yield f"{row.key}: missing"
            elif row.key not in self.injector.torn and not storage.verify(row.key, row.sha256):
                yield f"{row.key}: damaged"

    def gaps(self) -> Iterator[str]:
        for job, events in self.events.items():
            if [event.seq for event in events] != list(range(1, len(events) + 1)):
                yield f"{job}: {[event.seq for event in events]}"

    def orphaned(self) -> Iterator[str]:
        """A trainer that outlived its attempt: nothing runs any more."""
        for process in self.stand.trainers():
            yield f"{process.pid}: {' '.join(process.info['cmdline'] or [])[-120:]}"

    def leases(self) -> Iterator[str]:
        yield from (f"{job.id} ({job.status})" for job in self.jobs.values() if job.lease_until is not None)
        going_on = [one for one in self.attempts if one.ended_at is None]
        yield from (f"{one.job_id} attempt {one.attempt}: goes on" for one in going_on)
        waiting = [one for one in self.deliveries if one.status == DeliveryStatus.WAITING]
        yield from (f"{one.id}: {one.status}, attempt {one.attempts}" for one in waiting)

    def files(self) -> Iterator[str]:
        """A file without a row, once the reaper has collected as it does when the grace is over."""
        database = self.stand.database
        storage = self.stand.storage()
        with database.transaction() as session:
            notes = deletions.waiting(session)
        deletions.follow_all(database, storage, notes)
        unreferenced.collect(database, storage, 0)
        with database.transaction() as session:
            named = set(chain.from_iterable(session.scalars(select(column)) for column in deletions.NAMING))
        yield from (file.key for file in storage.stored() if file.key not in named)
