"""What the databases plan for the queries of a long queue: each reads an index as far as it must, and no table."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, update
from sqlalchemy.orm import Session

from api.access import quotas
from api.access.quotas import Quotas
from api.access.transactions import act_for
from api.caller import Caller, Scope
from api.db import Database, after_seconds
from api.jobs import claims, expiry, filters, lifecycle, service, unblocking
from api.jobs.lifecycle import Ending
from api.jobs.waiting import waiting_for
from api.jobs.workers import service as workers
from api.monitoring import service as monitoring
from api.studies import service as studies
from api.tables import job_inputs
from api.tables.jobs import Job
from api.tables.states import Status
from api.tables.studies import Study, StudyEnd
from api.uploads import dependents
from rdrkd.reasons import Reason
from rdrkd.spec import JOB_SPEC
from tests.benchmarks.queued import Filled, fill

MANY = 8000  # jobs of each sort: far more than a query may read
MOST_READ = 1500  # rows that one step of a plan may read: positions are counted up to 1000
MOST_STEPS = 100  # thousands of SQLite's instructions, of one whole operation; reading `MANY` rows takes more
SMALL = (
    "worker", "dataset", "model", "dataset_name", "dependency_change", "model_alias", "tally",
    "resumable_upload", "reservation", "study_end",
)  # fmt: skip

Operation = Callable[[Session, Filled], object]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated: Path
) -> Iterator[tuple[Database, Filled]]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("plans") / "rdrkd.db"
        path.write_bytes(migrated.read_bytes())
        database = Database(f"sqlite:///{path}")
        yield database, fill(database, MANY, MANY, MANY, MANY)
        database.engine.dispose()
        return
    with request.getfixturevalue("postgres").migrated() as url:
        database = Database(url)
        yield database, fill(database, MANY, MANY, MANY, MANY)
        database.engine.dispose()


def job(session: Session, number: int) -> Job:
    return session.get_one(Job, f"job_{number:032d}")


def create(session: Session, filled: Filled, **changes: Any) -> object:
    content = {"kind": "train", "dataset": filled.dataset, "model": {"architecture": "yolov8n"}} | changes
    made = service.create(session, JOB_SPEC.validate_python(content))
    return waiting_for(session, made, count=True)


def create_for_an_owner(session: Session, filled: Filled) -> object:
    act_for(session, Caller("key", "owner-1", Scope.ADMIN), Quotas(queued_jobs=10**6, running_jobs=1))
    return create(session, filled)


def submit(session: Session, caller: str | None) -> None:
    if caller is not None:
        act_for(session, Caller("key", caller, Scope.READ), Quotas())


def lists(caller: str | None, *status: Status) -> Operation:
    def read(session: Session, _filled: Filled) -> object:
        submit(session, caller)
        rows, _ = service.newest(session, 20, None, status)
        return [waiting_for(session, row) for row in rows]

    return read


def claim_when_some_have_enough(session: Session, _filled: Filled) -> object:
    """The owner of the jobs that are next has as many running as one may: the next owner's is taken."""
    taken = session.scalars(select(Job.id).where(Job.owner == "owner-3", Job.status == "queued").limit(3)).all()
    session.execute(update(Job).where(Job.id.in_(taken)).values(status=Status.RUNNING))
    held = claims.claim(session, "w", 60, most_running=3)
    assert held is not None
    return held


def end_of_teacher(session: Session, filled: Filled) -> object:
    return unblocking.changed(session, filled.teacher)


def draw_finished(session: Session, _filled: Filled) -> object:
    """One of many studies has ended."""
    study = session.scalars(select(Study).order_by(Study.id).limit(1)).one()
    study.spec = {
        "name": "n", "dataset": _filled.dataset, "student": {"architecture": "yolov8n"}, "methods": ["none"],
        "teacher": {"model": {"job": _filled.teacher}},
    }  # fmt: skip
    session.add(StudyEnd(id="end_1", study_id=study.id))
    session.flush()
    queued = studies.draw_finished(session)
    assert len(queued) == 1
    return queued


def check_storage(session: Session, _filled: Filled) -> None:
    act_for(session, Caller("key", "owner-1", Scope.READ), Quotas(storage_bytes=10**15))
    quotas.check_storage(session, "owner-1")


def queue(caller: str | None) -> Operation:
    def read(session: Session, _filled: Filled) -> object:
        submit(session, caller)
        found = workers.queue(session, 50)
        assert found.counts[Status.QUEUED] >= found.claimable > 0 or caller == "nobody"
        return found

    return read


def needs(session: Session, filled: Filled) -> None:
    assert dependents.of_upload(session, filled.dataset) is not None
    assert dependents.of_upload(session, "mdl_1") is None
    assert dependents.of_job(session, session.get_one(Job, filled.teacher), keep_weights=False) is not None


def finish(session: Session, filled: Filled) -> None:
    teacher = session.get_one(Job, filled.teacher)
    held = claims.Held(teacher.id, 1, teacher.kind, teacher.spec, 60)
    lifecycle.finish(session, held, Ending(Status.FAILED, Reason.NAN_LOSS))


def fail_overdue(session: Session, _filled: Filled) -> object:
    late = select(Job.id).where(Job.status == "queued").order_by(Job.id).limit(5)
    session.execute(update(Job).where(Job.id.in_(late)).values(deadline=after_seconds(-1)))
    failed = expiry.fail_overdue(session)
    assert len(failed) == 5
    return failed


OPERATIONS: dict[str, Operation] = {
    "claim": lambda session, _: claims.claim(session, "w", 60),
    "claim without a GPU": lambda session, _: claims.claim(session, "w", 60, with_gpu=False),
    "claim with a quota": lambda session, _: claims.claim(session, "w", 60, most_running=3),
    "claim when some have enough": claim_when_some_have_enough,
    "create": create,
    "create for an owner": create_for_an_owner,
    "create what waits": lambda session, filled: create(session, filled, model={"job": filled.teacher}),
    "read the first": lambda session, _: waiting_for(session, job(session, MANY + 1), count=True),
    "read the last": lambda session, _: waiting_for(session, job(session, 2 * MANY - 1), count=True),
    "read one that waits": lambda session, _: waiting_for(session, job(session, 2 * MANY + 1), count=True),
    "list": lists(None),
    "list the queued": lists(None, Status.QUEUED),
    "list those that failed": lists(None, Status.FAILED),
    "list an owner's": lists("owner-3"),
    "list an owner's that failed": lists("owner-3", Status.FAILED),
    "list of an owner without any": lists("nobody"),
    "cancel": lambda session, _: lifecycle.request_cancel(session, job(session, MANY + 5).id),
    "finish": finish,
    "end of a teacher": end_of_teacher,
    "advance": lambda session, filled: (unblocking.note(session, filled.checking), unblocking.advance(session)),
    "fail overdue": fail_overdue,
    "nothing is overdue": lambda session, _: expiry.fail_overdue(session),
    "expire": lambda session, _: expiry.expire(session, 5),
    "due bells": lambda session, _: expiry.due_bells(session, -10),
    "no due bells": lambda session, _: expiry.due_bells(session, 10**7),
    "can start": lambda session, _: expiry.can_start(session, job(session, MANY + 5).id),
    "waiting for": lambda session, filled: job_inputs.waiting_for(session, filled.teacher),
    "running": lambda session, _: quotas.running(session, "owner-1"),
    "successor": lambda session, filled: session.scalar(select(Job.id).where(Job.continues == filled.teacher)),
    "reports of studies": draw_finished,
    "a study's jobs": lambda session, _: service.newest(
        session, 20, None, others=filters.conditions(None, None, None, "stu_1")
    ),
    "queue": queue(None),
    "queue of an owner": queue("owner-3"),
    "queue of an owner without any": queue("nobody"),
    "monitoring": lambda session, _: list(monitoring.figures(session, 0, 0, "0")),
    "quota of bytes": check_storage,
    "bytes of everybody": lambda session, _: quotas.used_by_all(session),
    "who needs it": needs,
    "workers": lambda session, _: workers.present(session),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_reads_the_whole_queue(filled: tuple[Database, Filled], name: str) -> None:
    database, ids = filled
    postgres = database.engine.dialect.name == "postgresql"
    faults: list[str] = []
    look = faults_on_postgres if postgres else faults_on_sqlite

    def explain(_connection: Connection, cursor: Any, statement: str, parameters: Any, *_rest: object) -> None:
        faults.extend(f"{fault}: {statement}" for fault in look(cursor.connection, statement, parameters))

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        with database.engine.connect() as connection, Session(connection) as session:
            OPERATIONS[name](session, ids)
            session.rollback()
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)
    assert faults == [], "\n".join(faults)
    if not postgres:
        with counted(database) as (connection, steps), Session(connection) as session:
            OPERATIONS[name](session, ids)
            session.rollback()
        assert sum(steps) < MOST_STEPS


def faults_on_sqlite(raw: sqlite3.Connection, statement: str, parameters: Any) -> Iterator[str]:
    if isinstance(parameters, list) or statement.startswith("INSERT"):  # many rows at once are not explained so
        return
    for *_, detail in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall():
        if re.match(r"SCAN (job|artifact)", detail) and "INDEX" not in detail:
            yield detail


def faults_on_postgres(raw: Any, statement: str, parameters: Any) -> Iterator[str]:
    """Execute a statement with its plan, undo it, and tell of the steps that read too much."""
    if isinstance(parameters, list):  # many rows at once: each is one insert
        return
    with raw.cursor() as cursor:
        cursor.execute("SAVEPOINT looked_at")
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters)
        found = cursor.fetchone()[0]
        cursor.execute("ROLLBACK TO SAVEPOINT looked_at")
    plan = found if isinstance(found, list) else json.loads(found)
    for node in nodes(plan[0]["Plan"]):
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        whole = node["Node Type"] == "Seq Scan" and node["Relation Name"] not in SMALL
        if whole or ("Scan" in node["Node Type"] and read > MOST_READ):
            yield f"{node['Node Type']} of {node.get('Relation Name')} reads {read:.0f} rows"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes(each)


@contextmanager
def counted(database: Database) -> Iterator[tuple[Connection, list[int]]]:
    """Yield a connection and a count of the thousands of instructions that SQLite executes for it."""
    steps: list[int] = []
    with database.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.set_progress_handler(lambda: steps.append(1), 1000)
        try:
            yield connection, steps
        finally:
            raw.set_progress_handler(None, 0)
