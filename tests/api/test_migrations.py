"""The schema: what the revisions make is what the tables say, whoever migrates and however many at once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.orm import Session

from api import migrations
from api.db import Base, Database, make_engine
from api.jobs import unblocking
from api.storage import deletions
from api.tables import (
    attempts,
    audit,
    datasets,
    events,
    idempotency,
    jobs,
    keys,
    ledger,
    logs,
    models,
    resumable,
    shares,
    studies,
    tallies,
    webhooks,
    workers,
)
from api.uploads import model_versions
from tests.servers import Postgres

ROWS = (
    datasets.Dataset, datasets.DatasetName, models.Model, models.ModelFile, models.ModelSeries, models.ModelAlias,
    jobs.Job, jobs.JobDependency, jobs.DependencyChange, jobs.JobEpoch, jobs.JobWarning, jobs.Artifact, studies.Study,
    studies.StudyMember, studies.StudyReference, studies.StudyEnd, tallies.Tally, events.JobEvent,
    attempts.JobAttempt, attempts.JobCheckpoint, workers.Worker,
    idempotency.IdempotencyKey, deletions.Discard, keys.ApiKey, webhooks.Webhook, webhooks.Delivery,
    webhooks.DeliveryAttempt, audit.Audit, resumable.ResumableUpload, logs.JobLog,
    ledger.Reservation, shares.Share,
)  # fmt: skip
TABLES = {*(row.__tablename__ for row in ROWS), "alembic_version"}
LATER = TABLES - {"dataset", "model", "job", "job_epoch", "artifact", "alembic_version"}  # than the first revision


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/rdrkd.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


def old_job(connection: sa.Connection, **values: Any) -> None:
    """Put a job in as an older revision knows it."""
    table = sa.Table("job", sa.MetaData(), autoload_with=connection)
    old = {"id": "job_1", "kind": "train", "status": "queued", "problems": [], "spec": {"kind": "train"}, "priority": 0}
    old |= {"timeout_seconds": 60, "cancel_requested": False, "version": 1, "attempt": 0, "lost_workers": 0}
    connection.execute(sa.insert(table).values(old | values))


def test_revisions_and_tables_agree(url: str) -> None:
    migrations.upgrade(url)

    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert set(sa.inspect(engine).get_table_names()) == TABLES
    assert migrations.current(engine) == migrations.newest()
    engine.dispose()


def test_upgrading_again_changes_nothing(url: str) -> None:
    migrations.upgrade(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM job"))

    migrations.upgrade(url)

    assert migrations.current(engine) == migrations.newest()
    engine.dispose()


def test_down_and_up_again(url: str) -> None:
    migrations.upgrade(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        command.downgrade(migrations.config(connection), "base")

    assert set(sa.inspect(engine).get_table_names()) == {"alembic_version"}
    migrations.upgrade(url)
    assert set(sa.inspect(engine).get_table_names()) == TABLES
    engine.dispose()


@pytest.mark.slow
def test_warnings_come_to_a_database_that_has_jobs(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0001")
        old_job(connection)
    tables = set(sa.inspect(engine).get_table_names())

    migrations.upgrade(url)

    warning = {"job_id": "job_1", "number": 1, "attempt": 1, "code": "c", "message": "m", "count": 1}
    with engine.begin() as connection:
        connection.execute(sa.insert(jobs.JobWarning).values(warning))
        assert connection.execute(sa.select(jobs.Job.id, jobs.Job.spec)).all() == [("job_1", {"kind": "train"})]
        assert connection.scalars(sa.select(jobs.JobWarning.at)).one().tzinfo is not None
        connection.execute(sa.delete(jobs.Job))
        assert connection.execute(sa.select(jobs.JobWarning.code)).all() == []  # they go with their job
    assert tables == TABLES - LATER
    engine.dispose()


def test_going_back_takes_the_warnings_and_leaves_the_jobs(url: str) -> None:
    migrations.upgrade(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        job = {"id": "job_1", "kind": "train", "spec": {}, "timeout_seconds": 60}
        connection.execute(sa.insert(jobs.Job).values(job))

    with engine.begin() as connection:
        command.downgrade(migrations.config(connection), "0001")

    assert set(sa.inspect(engine).get_table_names()) == TABLES - LATER
    with engine.connect() as connection:
        assert connection.scalars(sa.select(jobs.Job.id)).all() == ["job_1"]
    engine.dispose()


def test_jobs_of_before_begin_with_the_status_that_they_have(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0004")
        same = {"started_at": datetime(2026, 1, 2, tzinfo=UTC)}
        waiting = {"id": "job_1", "status": "queued", "attempt": 0} | same
        working = {"id": "job_2", "status": "running", "attempt": 3, "worker": "w"} | same
        ended = {"finished_at": datetime(2026, 1, 3, tzinfo=UTC), "reason": "nan_loss", "message": "m"}
        failed = {"id": "job_3", "status": "failed", "attempt": 1, "worker": "w"} | same | ended
        for row in (waiting, working, failed):
            old_job(connection, **row)

    migrations.upgrade(url)

    with engine.begin() as connection:
        told = connection.execute(sa.select(events.JobEvent.seq, events.JobEvent.data).order_by("job_id")).all()
        rows = connection.execute(sa.select(attempts.JobAttempt).order_by("job_id")).all()
    assert [(seq, data["to"], data["reason"]) for seq, data in told] == [
        (1, "queued", None),
        (1, "running", None),
        (1, "failed", "nan_loss"),
    ]
    assert [(row.job_id, row.attempt, row.outcome) for row in rows] == [("job_2", 3, None), ("job_3", 1, "failed")]
    assert (rows[1].started_at, rows[1].ended_at) == (same["started_at"], ended["finished_at"])
    engine.dispose()


def test_warnings_of_before_have_no_epoch_and_stay_when_it_goes_again(url: str) -> None:
    old = {"job_id": "job_1", "number": 1, "attempt": 1, "code": "c", "message": "m", "count": 1}
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0002")
        old_job(connection)
        into = "job_warning (job_id, number, attempt, code, message, count)"
        connection.execute(
            sa.text(f"INSERT INTO {into} VALUES (:job_id, :number, :attempt, :code, :message, :count)"), old
        )

    migrations.upgrade(url)

    with engine.begin() as connection:
        assert connection.execute(sa.select(jobs.JobWarning.code, jobs.JobWarning.epoch)).all() == [("c", None)]
        connection.execute(sa.update(jobs.JobWarning).values(epoch=3))
        command.downgrade(migrations.config(connection), "0002")
        assert connection.execute(sa.select(jobs.JobWarning.code)).all() == [("c",)]
    assert "epoch" not in {column["name"] for column in sa.inspect(engine).get_columns("job_warning")}
    engine.dispose()


def test_what_was_there_before_owners_is_the_operators(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0004")
        old_job(connection)

    migrations.upgrade(url)

    with engine.begin() as connection:
        assert connection.scalars(sa.select(jobs.Job.owner)).all() == [None]
        command.downgrade(migrations.config(connection), "0004")
        assert connection.scalars(sa.select(jobs.Job.id)).all() == ["job_1"]
    engine.dispose()


def test_models_of_before_get_their_versions_by_name(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0008")
        table = sa.Table("model", sa.MetaData(), autoload_with=connection)
        old = {"filename": "x.pt", "status": "ready", "key": "uploads/x.pt", "sha256": "0" * 64, "size": 1}
        old |= {"problems": [], "attempt": 0, "lost_workers": 0}
        rows = [("mdl_1", "a", None), ("mdl_2", "a", "alice"), ("mdl_3", "a", None), ("mdl_4", None, None)]
        for id_, name, owner in rows:
            connection.execute(sa.insert(table).values(old | {"id": id_, "name": name, "owner": owner}))

    migrations.upgrade(url)

    with engine.begin() as connection:
        numbered = connection.execute(sa.select(models.Model.id, models.Model.version).order_by(models.Model.id)).all()
        assert numbered == [("mdl_1", 1), ("mdl_2", 1), ("mdl_3", 2), ("mdl_4", None)]
        counted = sa.select(models.ModelSeries.id, models.ModelSeries.versions)
        known = {model_versions.series_id(None, "a"): 2, model_versions.series_id("alice", "a"): 1}
        assert dict(connection.execute(counted).all()) == known
    engine.dispose()


@pytest.mark.slow
def test_several_processes_at_once(url: str) -> None:
    program = "import sys; from api import migrations; migrations.upgrade(sys.argv[1])"
    runs = [subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE) for _ in range(3)]

    assert [(run.communicate()[1].decode(), run.returncode) for run in runs] == [("", 0)] * 3
    engine = make_engine(url)
    assert set(sa.inspect(engine).get_table_names()) == TABLES
    engine.dispose()


def test_control_comes_to_a_database_that_has_jobs(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0004")
        old_job(connection)

    migrations.upgrade(url)

    with engine.begin() as connection:
        columns = (jobs.Job.earlier, jobs.Job.scratch_after, jobs.Job.pause, jobs.Job.deadline)
        assert connection.execute(sa.select(*columns)).all() == [([], 0, None, None)]
        command.downgrade(migrations.config(connection), "0004")
        assert connection.scalars(sa.text("SELECT id FROM job")).all() == ["job_1"]
    engine.dispose()


@pytest.mark.slow
def test_datasets_of_before_are_versions_in_their_order(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0008")
        table = sa.Table("dataset", sa.MetaData(), autoload_with=connection)
        old = {"filename": "a.zip", "status": "ready", "key": "k", "sha256": "0" * 64, "size": 1, "problems": []}
        old |= {"attempt": 0, "lost_workers": 0}
        for number, (owner, name) in enumerate(
            [("a", "x"), (None, "x"), ("a", None), ("a", "x"), (None, "x"), ("b", "y")]
        ):
            connection.execute(sa.insert(table).values(old | {"id": f"ds_{number}", "owner": owner, "name": name}))

    migrations.upgrade(url)

    row, counter = datasets.Dataset, datasets.DatasetName
    with engine.begin() as connection:
        assert connection.scalars(sa.select(row.version).order_by(row.id)).all() == [1, 1, None, 2, 2, 1]
        assert not any(connection.scalars(sa.select(row.lenient)))
        newest = connection.execute(sa.select(counter.owner, counter.name, counter.newest).order_by(counter.id)).all()
        assert newest == [("a", "x", 2), (None, "x", 2), ("b", "y", 1)]
        command.downgrade(migrations.config(connection), "0008")
        assert len(connection.scalars(sa.text("SELECT id FROM dataset")).all()) == 6
    engine.dispose()


def test_jobs_of_before_wait_for_what_they_refer_to(url: str) -> None:
    engine = make_engine(url)
    upload = {"filename": "a.zip", "key": "k", "sha256": "0" * 64, "size": 1, "problems": [], "attempt": 0}
    upload |= {"lost_workers": 0, "lenient": False}
    untrained = {"architecture": "yolov8n"}
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "job_0": ("succeeded", {"dataset": "ds_ready", "model": untrained}),
        "job_1": ("queued", {"dataset": "ds_ready", "model": untrained}),
        "job_2": ("queued", {"dataset": "ds_checking", "model": untrained}),
        "job_3": ("queued", {"dataset": "ds_ready", "teacher": {"job": "job_0"}, "student": untrained}),
        "job_4": ("queued", {"dataset": "ds_ready", "teacher": {"job": "job_1"}, "student": {"model": "mdl_gone"}}),
        "job_5": ("failed", {"dataset": "ds_checking", "model": {"job": "job_0"}, "export": {"format": "engine"}}),
    }
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0014")
        dataset, artifact = (
            sa.Table(name, sa.MetaData(), autoload_with=connection) for name in ("dataset", "artifact")
        )
        for status in ("ready", "checking"):
            connection.execute(sa.insert(dataset).values(upload | {"id": f"ds_{status}", "status": status}))
        for job_id, (status, spec) in specs.items():
            old_job(connection, id=job_id, status=status, spec=spec, scratch_after=0, earlier=[])
        weights = {"id": "art_0", "job_id": "job_0", "attempt": 1, "epoch": 1, "name": "student.pt", "key": "k"}
        connection.execute(sa.insert(artifact).values(weights | {"sha256": "0" * 64, "size": 1}))

    migrations.upgrade(url)

    row, dependency = jobs.Job, jobs.JobDependency
    database = Database(url)
    with database.transaction() as session:
        assert session.scalars(sa.select(row.id).where(row.waits).order_by(row.id)).all() == ["job_2", "job_4"]
        assert session.scalars(sa.select(row.id).where(row.gpu)).all() == ["job_5"]
        named = session.execute(sa.select(dependency.on_id, dependency.open).where(dependency.job_id == "job_4"))
        assert {tuple(each) for each in named} == {("ds_ready", True), ("job_1", True), ("mdl_gone", True)}
    assert list(unblocking.catch_up(database)) == ["job_4"]  # its student is gone
    with database.transaction() as session:
        assert session.get_one(row, "job_2").waits
        assert session.scalar(sa.select(jobs.DependencyChange.id)) is None
    with engine.begin() as connection:
        command.downgrade(migrations.config(connection), "0014")
        assert len(connection.scalars(sa.text("SELECT id FROM job")).all()) == len(specs)
    database.engine.dispose()
    engine.dispose()


def test_totals_begin_with_what_there_is(url: str) -> None:
    engine = make_engine(url)
    at = datetime(2026, 1, 3, tzinfo=UTC)
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0016")
        more = {"earlier": [], "scratch_after": 0}
        took = {"started_at": at, "finished_at": at + timedelta(seconds=90)}
        old_job(connection, id="job_1", status="succeeded", owner="a", **more, **took)
        old_job(connection, id="job_2", **more)
        old_job(connection, id="job_3", kind="compare", spec={"kind": "compare", "study": "stu_1"}, **more)
        attempt = {"job_id": "job_1", "attempt": 1, "worker": "w", "outcome": "succeeded", "started_at": at}
        connection.execute(sa.insert(attempts.JobAttempt).values(attempt | {"ended_at": took["finished_at"]}))
        file = {"id": "art_1", "job_id": "job_1", "attempt": 1, "epoch": 1, "name": "x", "key": "k", "sha256": "s"}
        connection.execute(sa.insert(jobs.Artifact).values(file | {"size": 7000}))
        spec = {"dataset": "ds_1", "teacher": {"model": {"job": "job_1"}}, "student": {"architecture": "yolov8n"}}
        study = sa.Table("study", sa.MetaData(), autoload_with=connection)
        connection.execute(sa.insert(study).values(id="stu_1", name="n", spec=spec))

    migrations.upgrade(url)

    with engine.begin() as connection, Session(connection) as session:
        found = {key: (total.number, round(total.total / 1e3)) for key, total in tallies.by_owner(session).items()}
        assert found == {
            ("a", "job/succeeded"): (1, 0), (None, "job/queued"): (2, 0), (None, "free"): (2, 0),
            ("a", "took/train/succeeded"): (1, 90_000), (None, "attempt/succeeded"): (1, 90_000),
            ("a", "artifacts"): (1, 7),
        }  # fmt: skip
        assert session.scalars(sa.select(jobs.Job.id).where(jobs.Job.study == "stu_1")).all() == ["job_3"]
        named = session.execute(sa.select(studies.StudyReference.study_id, studies.StudyReference.on_id)).all()
        assert sorted(map(tuple, named)) == [("stu_1", "ds_1"), ("stu_1", "job_1")]
        assert session.scalars(sa.select(studies.StudyEnd.study_id)).all() == ["stu_1"]
    with engine.begin() as connection:
        command.downgrade(migrations.config(connection), "0016")
    engine.dispose()


def test_ends_that_were_not_told_yet_become_messages(url: str) -> None:
    engine = make_engine(url)
    at = {"finished_at": datetime(2026, 1, 3, tzinfo=UTC)}
    with engine.begin() as connection:
        command.upgrade(migrations.config(connection), "0011")
        hook = sa.Table("webhook", sa.MetaData(), autoload_with=connection)
        for number, (owner, names) in enumerate(
            [("a", ["job.failed", "study.finished"]), ("a", ["job.succeeded"]), (None, ["job.failed"])]
        ):
            values = {"id": f"whk_{number}", "owner": owner, "url": "https://x.example", "events": names, "secrets": []}
            connection.execute(sa.insert(hook).values(values))
        old = {"earlier": [], "scratch_after": 0, "owner": "a"}
        old_job(connection, id="job_1", status="failed", **old, **at)
        old_job(connection, id="job_2", status="failed", announced_at=at["finished_at"], **old, **at)
        old_job(connection, id="job_3", **old)
        study = sa.Table("study", sa.MetaData(), autoload_with=connection)
        told = {"announced_at": at["finished_at"]}
        for study_id, job, more in (("s1", "job_1", {}), ("s2", "job_2", told), ("s3", "job_3", {})):
            row = {"id": study_id, "name": "n", "spec": {}, "owner": "a"} | more
            connection.execute(sa.insert(study).values(row))
            connection.execute(sa.insert(studies.StudyMember).values(study_id=study_id, method="m", seed=0, job_id=job))

    migrations.upgrade(url)

    with engine.begin() as connection:
        row = webhooks.Delivery
        made = connection.execute(sa.select(row.webhook_id, row.event, row.subject, row.status).order_by(row.event))
        assert made.all() == [
            ("whk_0", "job.failed", "job_1", "waiting"),
            ("whk_0", "study.finished", "s1", "waiting"),
        ]
        assert json.loads(connection.scalars(sa.select(row.body)).first() or "")["timestamp"].startswith("2026-01-03")
        command.downgrade(migrations.config(connection), "0011")
    engine.dispose()
