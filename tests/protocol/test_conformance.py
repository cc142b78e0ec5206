"""The model's row is the code's: each statement, sent in each state to a real database, does what the model says.

The states are walked depth first, and a savepoint undoes every statement, so that each is sent once in each state.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from api.db import Base, Database, after_seconds, new_id
from api.errors import NotEnded, NotFound, NotPausable, NotPaused, NotRetryable
from api.jobs import claims, expiry, lifecycle
from api.jobs.claims import Held
from api.jobs.control import deletion
from api.jobs.control import service as control
from api.jobs.lifecycle import Ending, Published
from api.tables.attempts import JobAttempt
from api.tables.datasets import Dataset
from api.tables.events import JobEvent
from api.tables.jobs import Artifact, Job
from api.tables.leases import Fenced as RealFenced
from api.tables.states import HELD, TERMINAL, Status
from api.tables.uploads import UploadStatus
from rdrkd.events import Progress
from tests.protocol.row import MAX_LOST, Fenced, Row, statements
from tests.servers import Backend

LEASE = 3600.0
PROGRESS = Progress(event="progress", phase="training", completed=1, total=2, unit="batch")


class Real:
    """One job on a real database, and the statements of the code under the model's names."""

    def __init__(self, session: Session) -> None:
        self.session, self.job_id, self.dataset = session, new_id("job"), new_id("ds")
        dataset = Dataset(id=self.dataset, filename="x.zip", status=UploadStatus.READY, size=1)
        dataset.key = dataset.sha256 = "0" * 64
        spec = {"kind": "train", "dataset": self.dataset, "model": {"architecture": "yolov8n"}, "train": {"epochs": 1}}
        session.add_all([dataset, Job(id=self.job_id, kind="train", spec=spec, timeout_seconds=60)])
        session.flush()

    def send(self, name: str) -> None:
        """Send the statement of this name, such as `publish 2`.

        Raises:
            RealFenced: it was refused.
        """
        what, *arguments = name.split()
        getattr(self, f"_{what}")(*arguments)

    def row(self) -> Row:
        """Read the row as the model knows it."""
        columns = (Job.status, Job.attempt, Job.lease_until > after_seconds(0), Job.lost_workers)
        job = self.session.execute(select(*columns).where(Job.id == self.job_id)).one_or_none()
        if job is None:
            return Row(status=None)
        status, attempt, leased, lost = job
        published = self.session.scalars(select(Artifact.attempt).where(Artifact.job_id == self.job_id))
        return Row(status, attempt, bool(leased), lost, frozenset(published))

    def check(self, row: Row) -> None:
        """Check what follows from the status: open attempts, gapless events, end time, no lease without a worker."""
        job = self.session.get_one(Job, self.job_id)
        going_on = select(JobAttempt.attempt).where(JobAttempt.job_id == self.job_id, JobAttempt.ended_at.is_(None))
        assert list(self.session.scalars(going_on)) == ([row.attempt] if row.status in HELD else [])
        numbers = select(func.count(), func.coalesce(func.max(JobEvent.seq), 0)).where(JobEvent.job_id == self.job_id)
        told, last = self.session.execute(numbers).one()
        assert told == last
        assert (job.finished_at is not None) == (row.status in TERMINAL)
        assert row.status in HELD or job.lease_until is None

    def _held(self, attempt: str) -> Held:
        return Held(self.job_id, int(attempt), "train", {}, 60)

    def _claim(self) -> None:
        claims.claim(self.session, "w", LEASE)

    def _lapse(self) -> None:
        leased = update(Job).where(Job.id == self.job_id, Job.lease_until.is_not(None))
        self.session.execute(leased.values(lease_until=after_seconds(-1)))

    def _expire(self) -> None:
        expiry.expire(self.session, MAX_LOST)

    def _fail_waiting(self) -> None:
        mine = update(Job).where(Job.id == self.job_id)
        self.session.execute(mine.where(Job.status == Status.QUEUED).values(deadline=after_seconds(-1)))
        expiry.fail_overdue(self.session)
        self.session.execute(mine.values(deadline=None))

    def _renew(self, attempt: str) -> None:
        lifecycle.renew(self.session, self._held(attempt), LEASE, PROGRESS)

    def _start(self, attempt: str) -> None:
        lifecycle.record_running(self.session, self._held(attempt))

    def _publish(self, attempt: str) -> None:
        file = Published(1, "student.pt", f"jobs/{self.job_id}/{attempt}", "0" * 64, 1)
        lifecycle.publish(self.session, self._held(attempt), [file])

    def _finish(self, attempt: str, end: str) -> None:
        lifecycle.finish(self.session, self._held(attempt), Ending(Status(end)))

    def _requeue(self, attempt: str) -> None:
        lifecycle.requeue(self.session, self._held(attempt))

    def _abandon(self, attempt: str) -> None:
        lifecycle.abandon(self.session, self._held(attempt))

    def _cancel(self) -> None:
        lifecycle.request_cancel(self.session, self.job_id)

    def _pause(self) -> None:
        with suppress(NotPausable, NotFound):
            control.pause(self.session, self.job_id, "latest")

    def _resume(self) -> None:
        with suppress(NotPaused, NotFound):
            control.resume(self.session, self.job_id)

    def _retry(self) -> None:
        with suppress(NotRetryable, NotFound):
            control.retry(self.session, self.job_id, scratch=False)

    def _delete(self) -> None:
        with suppress(NotEnded, NotFound):
            deletion.delete_job(self.session, self.job_id)


@pytest.fixture
def real(backend: Backend) -> Iterator[Real]:
    database = Database(backend.database_url)
    Base.metadata.create_all(database.engine)
    with database.transaction() as session:
        yield Real(session)
        session.rollback()
    database.engine.dispose()


@pytest.mark.parametrize("attempts", [1, pytest.param(2, marks=pytest.mark.slow)])  # 2: a late one beside the holder
def test_every_statement_in_every_state_does_what_the_model_says(real: Real, attempts: int) -> None:
    seen = {Row()}
    sent = 0

    def walk(row: Row, trace: list[str]) -> None:
        nonlocal sent
        for name, statement in statements(row):
            if name == "claim" and row.attempt >= attempts:
                continue
            sent += 1
            try:
                after = known(statement(row))
            except Fenced:
                with pytest.raises(RealFenced):
                    real.send(name)
                assert real.row() == row, [*trace, name]
                continue
            with real.session.begin_nested() as savepoint:
                real.send(name)
                assert real.row() == after, [*trace, name]
                if after not in seen:
                    seen.add(after)
                    if after.status is not None:
                        real.check(after)
                    walk(after, [*trace, name])
                savepoint.rollback()

    walk(Row(), [])
    assert {row.status for row in seen} == {*Status, None}
    print(f"{sent} statements in {len(seen)} states")


def known(row: Row) -> Row:
    """Return a row of the model as a database can show it."""
    return row._replace(ends=0, untold=False) if row.status is not None else Row(status=None)
