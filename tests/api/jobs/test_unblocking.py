"""What queued jobs wait for, kept as a flag: always what a slow query over everything would find."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from api.db import Database, after_seconds, new_id
from api.errors import ApiError
from api.jobs import claims, expiry, lifecycle, service, unblocking, upload_checks
from api.jobs.claims import Held
from api.jobs.control import deletion
from api.jobs.control import service as owner
from api.jobs.lifecycle import Ending, Published
from api.tables.datasets import Dataset
from api.tables.job_inputs import claimable
from api.tables.jobs import Artifact, DependencyChange, Job, JobDependency
from api.tables.leases import Fenced
from api.tables.models import Model
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from api.uploads import service as registration
from rdrkd.reasons import Reason
from rdrkd.spec import JOB_SPEC

FIELDS = ("teacher", "student", "model")
SUCCEEDED = (Ending(Status.SUCCEEDED), True)
ENDINGS = (SUCCEEDED, SUCCEEDED, (Ending(Status.SUCCEEDED), False), (Ending(Status.FAILED, Reason.NAN_LOSS), False))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "rdrkd.db"
        path.write_bytes(migrated.read_bytes())
        opened = Database(f"sqlite:///{path}")
        yield opened
        opened.engine.dispose()
        return
    with request.getfixturevalue("postgres").migrated() as url:
        opened = Database(url)
        yield opened
        opened.engine.dispose()


# The slow definitions: what a job waits for, read from what it refers to, each time.


def ready(job: Any) -> ColumnElement[bool]:
    dataset = exists().where(Dataset.id == job.spec["dataset"].as_string(), Dataset.status == UploadStatus.READY)
    return and_(dataset, *(_reference_ready(job, field) for field in FIELDS))


def _reference_ready(job: Any, field: str) -> ColumnElement[bool]:
    model_id, job_id = (job.spec[(field, what)].as_string() for what in ("model", "job"))
    source = aliased(Job)
    weights = exists().where(Artifact.job_id == source.id, Artifact.name == "student.pt")
    return and_(
        or_(model_id.is_(None), exists().where(Model.id == model_id, Model.status == UploadStatus.READY)),
        or_(job_id.is_(None), exists().where(source.id == job_id, source.status == Status.SUCCEEDED, weights)),
    )


def hopeless(session: Session, spec: dict[str, Any]) -> bool:
    uploads = [(Dataset, spec["dataset"])]
    sources = [spec[field] for field in FIELDS if field in spec]
    uploads += [(Model, each["model"]) for each in sources if "model" in each]
    for table, id_ in uploads:
        if session.scalar(select(table.status).where(table.id == id_)) in (None, UploadStatus.INVALID):
            return True
    for job_id in (each["job"] for each in sources if "job" in each):
        status = session.scalar(select(Job.status).where(Job.id == job_id))
        weights = select(Artifact.id).where(Artifact.job_id == job_id, Artifact.name == "student.pt").limit(1)
        if status in (None, Status.FAILED, Status.CANCELLED):
            return True
        if status == Status.SUCCEEDED and session.scalar(weights) is None:
            return True
    return False


def check(database: Database, settled: bool) -> None:
    """Compare the flags with the slow definitions; before all changes are told, no job may start too early."""
    with database.transaction() as session:
        queued = session.execute(select(Job.id, Job.spec, Job.waits, ready(Job)).where(Job.status == Status.QUEUED))
        for job_id, spec, waits, is_ready in queued.all():
            assert is_ready or waits, f"{job_id} may start too early"
            if settled:
                assert waits != is_ready, f"{job_id} waits for nothing"
                assert not hopeless(session, spec), f"{job_id} waits in vain"
        if settled:
            assert session.scalar(select(DependencyChange.id)) is None
            forgotten = select(Job.id).where(Job.status == Status.QUEUED, Job.waits)
            told = select(JobDependency.job_id).where(JobDependency.open)
            assert set(session.scalars(forgotten)) <= set(session.scalars(told))


class Owner:
    """Makes random moves, of workers and of whom the jobs belong to."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.random, self.held = database, random.Random(seed), list[Held]()
        self.moves: list[Callable[[Session], Any]] = [
            self.upload, self.upload, self.settle, self.settle, self.submit, self.submit, self.submit, self.submit,
            self.claim, self.claim, self.finish, self.finish, self.give_back, self.lose, self.cancel, self.pause,
            self.resume, self.retry, self.delete_job, self.delete_upload,
        ]  # fmt: skip

    def move(self) -> None:
        """Make a move that is possible; one that is refused changes nothing."""
        try:
            with self.database.transaction() as session:
                self.random.choice(self.moves)(session)
        except (ApiError, Fenced):
            pass

    def upload(self, session: Session) -> str:
        table, prefix = self.random.choice([(Dataset, "ds"), (Model, "mdl")])
        row = table(id=new_id(prefix), filename="x", key=new_id("key"), sha256="0" * 64, size=1)
        session.add(row)
        return row.id

    def settle(self, session: Session) -> None:
        if (claimed := upload_checks.claim(session, "checker", 60)) is not None:
            problems = [{"where": "x", "detail": "bad"}] if self.random.random() < 0.2 else []
            upload_checks.settle(session, claimed, {}, problems)

    def submit(self, session: Session) -> None:
        if (dataset := self.any(session, Dataset)) is None:
            return
        content = {"kind": "train", "dataset": dataset, "model": self.reference(session)}
        teacher = self.reference(session)
        if "architecture" not in teacher:  # a student alone can be untrained
            content = content | {"kind": "distill", "teacher": teacher, "student": content.pop("model")}
        service.add(session, JOB_SPEC.validate_python(content), owner=None)  # also what a request would refuse

    def reference(self, session: Session) -> dict[str, str]:
        choices = {"architecture": "yolov8n", "model": self.any(session, Model), "job": self.any(session, Job)}
        name, value = self.random.choice([(name, value) for name, value in choices.items() if value is not None])
        return {name: value}

    def claim(self, session: Session) -> None:
        if (held := claims.claim(session, "worker", 60)) is not None:
            self.held.append(held)

    def finish(self, session: Session) -> None:
        if self.held:
            held, (ending, weights) = self.held.pop(), self.random.choice(ENDINGS)
            if weights:
                lifecycle.publish(session, held, [Published(1, "student.pt", held.id, "0" * 64, 1)])
            lifecycle.finish(session, held, ending)

    def give_back(self, session: Session) -> None:
        if self.held:
            lifecycle.requeue(session, self.held.pop())

    def lose(self, session: Session) -> None:
        if self.held:
            lost = update(Job).where(Job.id == self.held.pop().id, Job.lease_until.is_not(None))
            session.execute(lost.values(lease_until=after_seconds(-1)))
            expiry.expire(session, max_lost_workers=1)

    def cancel(self, session: Session) -> None:
        service.cancel(session, self.any(session, Job) or "")

    def pause(self, session: Session) -> None:
        owner.pause(session, self.any(session, Job) or "", "latest")

    def resume(self, session: Session) -> None:
        paused = select(Job.id).where(Job.status == Status.PAUSED).limit(1)
        owner.resume(session, session.scalar(paused) or "")

    def retry(self, session: Session) -> None:
        ended = session.scalars(select(Job.id).where(Job.status.in_([Status.FAILED, Status.CANCELLED]))).all()
        owner.retry(session, self.random.choice(ended) if ended else "", scratch=False)

    def delete_job(self, session: Session) -> None:
        deletion.delete_job(session, self.any(session, Job) or "")

    def delete_upload(self, session: Session) -> None:
        table = self.random.choice([Dataset, Model])
        registration.delete(session, table, self.any(session, table) or "")

    def any(self, session: Session, table: Any) -> str | None:
        ids = session.scalars(select(table.id).order_by(table.id.desc()).limit(12)).all()
        return self.random.choice(ids) if ids else None


def catch_up(database: Database) -> None:
    list(unblocking.catch_up(database, seconds=60))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_random_moves_leave_the_flags_as_the_slow_queries_find_them(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int, batch: int
) -> None:
    monkeypatch.setattr(unblocking, "BATCH", batch)
    mover = Owner(database, seed)
    for _ in range(30):
        for _ in range(mover.random.randint(1, 5)):
            mover.move()
        check(database, settled=False)
        if mover.random.random() < 0.5:
            catch_up(database)
            check(database, settled=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_moves_side_by_side_forget_nobody(database: Database, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(unblocking, "BATCH", 3)
    errors: list[Exception] = []

    def work(number: int) -> None:
        mover = Owner(database, 100 * seed + number)
        try:
            for _ in range(60):
                mover.move()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test's own thread tells it
            errors.append(error)

    def reap() -> None:
        try:
            while any(thread.is_alive() for thread in threads):
                catch_up(database)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test's own thread tells it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    reaper = threading.Thread(target=reap)
    for thread in (*threads, reaper):
        thread.start()
    for thread in (*threads, reaper):
        thread.join(120)
    assert errors == []
    catch_up(database)
    check(database, settled=True)


def add(database: Database, dataset: str, **references: dict[str, str]) -> str:
    kind = "distill" if "teacher" in references else "train"
    fields: dict[str, Any] = {"teacher": "", "student": ""} if kind == "distill" else {"model": ""}
    content = {field: references.get(field, {"architecture": "yolov8n"}) for field in fields}
    with database.transaction() as session:
        spec = JOB_SPEC.validate_python({"kind": kind, "dataset": dataset} | content)
        return service.add(session, spec, owner=None).id


def upload(database: Database, status: UploadStatus) -> str:
    with database.transaction() as session:
        row = Dataset(id=new_id("ds"), filename="x", key="k", sha256="0" * 64, size=1, status=status)
        session.add(row)
    return row.id


def statuses(database: Database) -> dict[str, tuple[Status, bool]]:
    with database.transaction() as session:
        return {id_: (status, waits) for id_, status, waits in session.execute(select(Job.id, Job.status, Job.waits))}


def end(database: Database, job_id: str, ending: Ending, weights: bool = False) -> None:
    with database.transaction() as session:
        held = claims.claim(session, "worker", 60)
        assert held is not None
        assert held.id == job_id
        if weights:
            lifecycle.publish(session, held, [Published(1, "student.pt", held.id, "0" * 64, 1)])
    with database.transaction() as session:
        lifecycle.finish(session, held, ending)


def test_the_end_of_a_teacher_tells_a_batch_and_the_rest_is_told_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unblocking, "BATCH", 10)
    teacher_of = upload(database, UploadStatus.READY)
    teacher = add(database, teacher_of)
    count = 2 * unblocking.BATCH + 5
    students = [add(database, teacher_of, teacher={"job": teacher}) for _ in range(count)]

    end(database, teacher, Ending(Status.FAILED, Reason.NAN_LOSS))

    told = [statuses(database)[job_id][0] for job_id in students]
    assert told.count(Status.FAILED) == unblocking.BATCH  # of this transaction, which holds the row of the teacher
    with database.transaction() as session:
        more = expiry.fail_blocked(session)
    assert len(more) == unblocking.BATCH
    rest = list(unblocking.catch_up(database))
    assert len(rest) == 5
    check(database, settled=True)


def test_a_teacher_that_is_retried_while_its_dependants_are_told_keeps_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unblocking, "BATCH", 10)
    dataset = upload(database, UploadStatus.READY)
    teacher = add(database, dataset)
    students = [add(database, dataset, teacher={"job": teacher}) for _ in range(unblocking.BATCH + 5)]
    end(database, teacher, Ending(Status.FAILED, Reason.NAN_LOSS))

    with database.transaction() as session:
        owner.retry(session, teacher, scratch=False)
    catch_up(database)

    assert [statuses(database)[job_id] for job_id in students[-5:]] == [(Status.QUEUED, True)] * 5
    end(database, teacher, Ending(Status.SUCCEEDED), weights=True)
    assert [statuses(database)[job_id] for job_id in students[-5:]] == [(Status.QUEUED, False)] * 5


def test_a_chain_falls_from_its_first_job_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unblocking, "BATCH", 10)
    dataset = upload(database, UploadStatus.READY)
    chain = [add(database, dataset)]
    for _ in range(2 * unblocking.BATCH):
        chain.append(add(database, dataset, model={"job": chain[-1]}))
    end(database, chain[0], Ending(Status.FAILED, Reason.NAN_LOSS))
    catch_up(database)
    assert {status for status, _ in statuses(database).values()} == {Status.FAILED}


def test_two_workers_that_end_at_once_free_the_job_that_waits_for_both(database: Database) -> None:
    dataset = upload(database, UploadStatus.READY)
    for _ in range(4):
        sources = [add(database, dataset) for _ in range(2)]
        both = add(database, dataset, teacher={"job": sources[0]}, student={"job": sources[1]})
        held = []
        for _ in sources:
            with database.transaction() as session:
                held.append(claims.claim(session, "worker", 60))
        barrier = threading.Barrier(2)

        def finish(mine: Held, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(10)
            with database.transaction() as session:
                lifecycle.publish(session, mine, [Published(1, "student.pt", mine.id, "0" * 64, 1)])
                lifecycle.finish(session, mine, Ending(Status.SUCCEEDED))

        threads = [threading.Thread(target=finish, args=(each,)) for each in held]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        catch_up(database)
        assert statuses(database)[both] == (Status.QUEUED, False)
        end(database, both, Ending(Status.FAILED, Reason.NAN_LOSS))


def test_a_job_that_is_queued_while_its_teacher_ends_misses_nothing(database: Database) -> None:
    dataset = upload(database, UploadStatus.READY)
    for number in range(6):
        teacher = add(database, dataset)
        with database.transaction() as session:
            held = claims.claim(session, "worker", 60)
        assert held is not None
        barrier, queued = threading.Barrier(2), list[str]()

        def finish(mine: Held, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(10)
            with database.transaction() as session:
                lifecycle.finish(session, mine, Ending(Status.FAILED, Reason.NAN_LOSS))

        def submit(teacher: str = teacher, barrier: threading.Barrier = barrier, queued: list[str] = queued) -> None:
            barrier.wait(10)
            queued.append(add(database, dataset, teacher={"job": teacher}))

        threads = [threading.Thread(target=finish, args=(held,)), threading.Thread(target=submit)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        catch_up(database)
        assert statuses(database)[queued[0]][0] == Status.FAILED, f"round {number}"


def test_what_a_job_has_just_named_is_not_deleted(database: Database) -> None:
    """Whoever comes second sees the first, whichever that is."""
    for _ in range(4):
        dataset = upload(database, UploadStatus.READY)
        barrier, made, gone = threading.Barrier(2), list[str](), list[str]()

        def submit(dataset: str = dataset, barrier: threading.Barrier = barrier, made: list[str] = made) -> None:
            barrier.wait(10)
            made.append(add(database, dataset))

        def delete(dataset: str = dataset, barrier: threading.Barrier = barrier, gone: list[str] = gone) -> None:
            barrier.wait(10)
            try:
                with database.transaction() as session:
                    registration.delete(session, Dataset, dataset)
                gone.append(dataset)
            except ApiError:
                pass

        threads = [threading.Thread(target=submit), threading.Thread(target=delete)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        catch_up(database)
        with database.transaction() as session:
            may_start = session.scalar(select(Job.id).where(Job.id == made[0], claimable(Job)))
        assert (may_start is None) == bool(gone)
