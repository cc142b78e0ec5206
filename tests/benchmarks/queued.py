"""A database with a long queue, made in a second: what tests of plans and the benchmark of the queue ask of."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from api.db import Database
from api.tables import tallies

OWNERS = 20
_SPEC = """'{"kind": "train", "dataset": "' || %s || '", "model": %s}'"""
_STUDY = """'{"name": "n", "dataset": "ds_0", "teacher": {"model": {"architecture": "yolov8n"}, "train": {"epochs": 1}},
    "student": {"architecture": "yolov8n"}, "methods": ["none"]}'"""
_COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"


@dataclass(frozen=True)
class Filled:
    """Ids of what there is."""

    dataset: str  # ready
    checking: str  # a dataset that is not; jobs wait for it
    teacher: str  # a job that one worker holds, and others wait for
    last: str  # of the jobs that can start, the one that is taken last


def fill(database: Database, free: int, on_teacher: int = 0, on_dataset: int = 0, ended: int = 0) -> Filled:
    """Queue jobs of many owners with a few priorities, in bulk; the planners know how many there are.

    Args:
        database: an empty one, at the newest revision.
        free: jobs that wait for nothing but a worker.
        on_teacher: jobs that wait for one job.
        on_dataset: jobs that wait for one dataset.
        ended: jobs that have succeeded.
    """
    last = max(number for number in range(ended + free, max(ended, ended + free - 3), -1) if number % 3 == 0)
    filled = Filled(_id("ds", 1), _id("ds", 2), _id("job", 0), _id("job", last))
    with database.engine.begin() as connection:
        for id_, status in ((filled.dataset, "ready"), (filled.checking, "checking")):
            _dataset(connection, id_, status)
        none, job = '{"architecture": "yolov8n"}', f'{{"job": "{filled.teacher}"}}'
        teacher = {"status": "'running'", "attempt": "1", "worker": "'w'", "lease_until": _soon(connection)}
        _jobs(connection, 1, -1, filled.dataset, none, **teacher)
        start = 0
        for count, dataset, model, values in (
            (ended, filled.dataset, none, {"status": "'succeeded'", "finished_at": _soon(connection)}),
            (free, filled.dataset, none, {}),
            (on_teacher, filled.dataset, job, {"waits": "true"}),
            (on_dataset, filled.checking, none, {"waits": "true"}),
        ):
            if count:
                _jobs(connection, count, start, dataset, model, **values)
            start += count
        _beside(connection)
    while _settled(database):
        pass
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
        if connection.dialect.name == "postgresql":
            connection.execute(text("VACUUM"))  # as autovacuum does: index-only scans need it
    return filled


def _settled(database: Database) -> int:
    """Sum up totals, as the reaper does meanwhile."""
    with database.transaction() as session:
        return tallies.settle(session)


def _id(prefix: str, number: int) -> str:
    return f"{prefix}_{number:032d}"


def _soon(connection: Connection) -> str:
    return "'2100-01-01 00:00:00.000000'" + ("::timestamptz" if connection.dialect.name == "postgresql" else "")


def _dataset(connection: Connection, id_: str, status: str) -> None:
    connection.execute(
        text(
            "INSERT INTO dataset (id, filename, status, key, sha256, size, problems, attempt, lost_workers, lenient)"
            f" VALUES ('{id_}', 'x.zip', '{status}', 'k', '{0:064d}', 1, '[]', 0, 0, false)"
        )
    )


def _jobs(connection: Connection, count: int, start: int, dataset: str, model: str, **values: str) -> None:
    postgres = connection.dialect.name == "postgresql"
    number = f"i + {start}"
    digits = f"lpad(({number})::text, 32, '0')" if postgres else f"printf('%032d', {number})"
    seconds = f"make_interval(secs => {number})" if postgres else f"'+' || ({number}) || ' seconds'"
    begin = "timestamptz '2020-01-01 00:00:00+00'" if postgres else "'2020-01-01'"
    queued_at = f"{begin} + {seconds}" if postgres else f"strftime('%Y-%m-%d %H:%M:%f000', {begin}, {seconds})"
    spec = _SPEC % (f"'{dataset}'", model)
    columns = {
        "id": f"'job_' || {digits}", "kind": "'train'", "status": "'queued'", "owner": f"'owner-' || (i % {OWNERS})",
        "spec": f"({spec})" + ("::json" if postgres else ""), "problems": "'[]'", "earlier": "'[]'",
        "priority": f"({number}) % 3", "timeout_seconds": "3600", "cancel_requested": "false", "version": "1",
        "attempt": "0", "lost_workers": "0", "scratch_after": "0", "waits": "false", "gpu": "false",
        "created_at": queued_at, "queued_at": queued_at, "rung_at": "CURRENT_TIMESTAMP", **values,
    }  # fmt: skip
    if not postgres:
        columns["rung_at"] = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    chosen = f"SELECT {', '.join(columns.values())} FROM n"
    into = f"INSERT INTO job ({', '.join(columns)})"
    statement = f"{_COUNT} {into} {chosen}" if postgres else f"{into} {_COUNT} {chosen}"
    connection.execute(text(statement.replace('": "', '"\\: "')), {"count": count})


def _beside(connection: Connection) -> None:
    """Add what jobs have beside their rows: what they refer to, an event, an attempt and a file of those that ended."""
    postgres = connection.dialect.name == "postgresql"
    dataset, model = (
        ("spec ->> 'dataset'", "spec -> 'model' ->> 'job'")
        if postgres
        else ("spec ->> '$.dataset'", "spec ->> '$.model.job'")
    )
    for field in (dataset, model):
        connection.execute(
            text(
                f"INSERT INTO job_dependency (job_id, on_id, open) SELECT id, {field}, waits FROM job"
                f" WHERE {field} IS NOT NULL"
            )
        )
    data = """'{"from"\\: null, "to"\\: "queued", "worker"\\: null, "reason"\\: null}'"""
    connection.execute(
        text(f"INSERT INTO job_event (job_id, seq, type, attempt, data) SELECT id, 1, 'status', 0, {data} FROM job")
    )
    ended = "FROM job WHERE status = 'succeeded'"
    connection.execute(
        text(f"INSERT INTO job_attempt (job_id, attempt, worker, ended_at) SELECT id, 1, 'w', created_at {ended}")
    )
    number = "substr(id, 4)"
    study = "INSERT INTO study (id, name, spec, owner, created_at)"
    connection.execute(text(f"{study} SELECT 'stu' || {number}, 'n', {_STUDY}, owner, created_at {ended}"))
    member = "INSERT INTO study_member (study_id, method, seed, job_id)"
    connection.execute(text(f"{member} SELECT 'stu' || {number}, 'none', 0, id {ended}"))
    reference = "INSERT INTO study_reference (study_id, on_id)"
    connection.execute(text(f"{reference} SELECT 'stu' || {number}, {dataset} {ended}"))
    columns = "id, job_id, attempt, epoch, name, key, sha256, size"
    connection.execute(
        text(
            f"INSERT INTO artifact ({columns}) SELECT 'art' || substr(id, 4), id, 1, 1, 'student.pt', id, '', 1 {ended}"
        )
    )
