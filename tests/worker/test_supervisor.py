import json
import math
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy import update

from api.jobs import checkpoint_retention, expiry, lifecycle, warnings
from api.jobs.checkpoint_retention import Retention
from api.tables.jobs import Artifact, Job, JobEpoch
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from tests.servers import Postgres
from tests.worker.conftest import TRAINER, Rows, Running, until
from worker import inputs, supervisor
from worker.disk_space import MOST_FULL_DISKS
from worker.lease import Lease
from worker.workplace import Workplace

Start = Callable[[], Running]


def work(place: Workplace, rows: Rows) -> None:
    held = rows.claim()
    assert held is not None
    supervisor.run(place, held, TRAINER)


def test_a_job_runs_to_its_end(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=3)
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason, job.attempt, job.lease_until) == (Status.SUCCEEDED, None, 1, None)
    assert job.result["best_epoch"] == 3
    assert job.metrics == {"mAP50": 5.0}
    assert job.started_at <= job.finished_at
    # Only the newest two checkpoints stay, without what nothing will resume from.
    files = [(1, 2, "student.pt"), (1, 3, "result.json"), (1, 3, "student.pt")]
    assert rows.artifacts(job_id) == files
    stored = {str(path.relative_to(place.storage.root)) for path in place.storage.root.rglob("*") if path.is_file()}
    assert len([path for path in stored if path.startswith("jobs/")]) == len(files)
    with place.database.transaction() as session:
        assert [row.epoch for row in session.query(JobEpoch).order_by(JobEpoch.epoch)] == [1, 2, 3]
    folder = place.folder(job_id, 1)
    assert [path.name for path in folder.iterdir()] == ["trainer.log"]


def test_official_weights_come_from_the_workers_folder(place: Workplace, rows: Rows) -> None:
    official = {"architecture": "yolov8n", "pretrained": True}
    offline = replace(place, settings=place.settings.model_copy(update={"pretrained_url": ""}))
    failed, trained = (rows.job(epochs=1, spec={"model": official}) for _ in range(2))
    work(offline, rows)
    job = rows.get(failed)
    assert (job.status, job.reason) == (Status.FAILED, "model_invalid")
    assert "put the file into `pretrained` of the worker's data folder" in job.message
    assert str(place.settings.data_dir) not in job.message
    place.settings.pretrained_dir.mkdir(exist_ok=True)
    with zipfile.ZipFile(place.settings.pretrained_dir / "yolov8n.pt", "w") as weights:
        weights.writestr("yolov8n/data.pkl", "weights")
    work(offline, rows)
    assert rows.get(trained).status == Status.SUCCEEDED
    spec = rows.get(trained).spec
    assert inputs.official(spec, offline.settings) == ["--model", str(place.settings.pretrained_dir / "yolov8n.pt")]
    alone = {"kind": "distill", "teacher": official, "student": spec["model"], "dataset": "d"}
    assert inputs.official(alone | {"distillation": {"preset": "none"}}, offline.settings)[0] == "--student"


def test_resume_states_stay_where_the_settings_say_so(place: Workplace, rows: Rows) -> None:
    keeping = replace(place, settings=place.settings.model_copy(update={"checkpoints_keep_state": True}))
    job_id = rows.job(epochs=1)
    work(keeping, rows)
    assert (1, 1, "state.pt") in rows.artifacts(job_id)
    with place.database.transaction() as session:
        assert checkpoint_retention.ended_with_more(session, Retention.of(keeping.settings)) == []
        policy = Retention.of(place.settings)
        assert checkpoint_retention.ended_with_more(session, policy) == [job_id], "the reaper removes earlier ones"
        assert len(checkpoint_retention.prune_ended(session, job_id, policy)) == 1
    assert rows.artifacts(job_id) == [(1, 1, "result.json"), (1, 1, "student.pt")]


def test_what_a_finished_run_leaves_is_published_once(place: Workplace, rows: Rows) -> None:
    at_the_end = "metrics.jsonl warnings.jsonl report.html report.png resolved_spec.json"
    job_id = rows.job(epochs=1, leaves=f"{at_the_end} student.safetensors private.key")
    work(place, rows)
    names = sorted([*at_the_end.split(), "result.json", "student.pt", "student.safetensors"])
    assert rows.artifacts(job_id) == [(1, 1, name) for name in names]
    stored = sorted(path.name for path in (place.storage.root / "jobs").rglob("*") if path.is_file())
    assert stored == names  # student.pt is the checkpoint's, not kept twice


def test_what_the_end_replaces_does_not_stay_in_the_storage(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=1, leaves="student.pt")  # other weights than the last checkpoint's
    work(place, rows)
    assert rows.artifacts(job_id) == [(1, 1, name) for name in ("result.json", "student.pt")]
    [weights] = (place.storage.root / "jobs").rglob("student.pt")
    assert weights.read_text() == "student.pt at the end"


@pytest.mark.slow
def test_the_trainer_inherits_nothing_secret(place: Workplace, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDRKD_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    job_id = rows.job(epochs=1, environment="yes")
    work(place, rows)
    seen = rows.get(job_id).resolved_spec
    assert "secret" not in json.dumps(seen)
    assert seen["environment"]["RDRKD_PARENT"] == str(os.getpid())
    assert seen["environment"]["ULTRALYTICS_SAFE_LOAD"] == "1"
    assert "--dataset" in seen["argv"]


def test_lines_that_are_no_events_are_ignored(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(garbage="yes")
    work(place, rows)
    assert rows.get(job_id).status == Status.SUCCEEDED


def test_a_later_resolved_spec_replaces_the_first(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=1, calibrate="yes")
    work(place, rows)
    job = rows.get(job_id)
    assert job.status == Status.SUCCEEDED
    assert job.resolved_spec == {"distillation": {"losses": [{"name": "ld", "weight": 0.25}]}}


def test_warnings_are_kept_without_this_machines_paths(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=1, warn="2")
    work(place, rows)
    assert rows.get(job_id).status == Status.SUCCEEDED
    with place.database.transaction() as session:
        kept = [(row.attempt, row.code, row.message, row.count, row.epoch) for row in warnings.of(session, job_id)]
    assert kept == [
        (1, "dataset", "look at images: \ufffd nothing", 2, None),
        (1, "term_weak", "weak, 0", 1, 1),
        (1, "term_weak", "weak, 1", 1, 2),
    ]


def test_a_fenced_attempt_that_warns_writes_nothing_and_stops(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=100, warn="1")
    held = rows.claim()
    assert held is not None
    with place.database.transaction() as session:  # the reaper's work, and another worker's
        session.execute(update(Job).values(status=Status.QUEUED, lease_until=None))
    assert rows.claim() is not None
    supervisor.run(place, held, TRAINER)
    with place.database.transaction() as session:
        assert warnings.of(session, job_id) == []
    assert (rows.get(job_id).status, rows.get(job_id).attempt) == (Status.STARTING, 2)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "internal"),
        ("oom", "oom_host"),
        ("fail", "nan_loss"),
        ("escape", "internal"),
        ("swarm", "internal"),
    ],
)
def test_a_trainer_that_dies_fails_the_job_and_keeps_its_checkpoints(
    place: Workplace, rows: Rows, how: str, reason: str
) -> None:
    job_id = rows.job(epochs=4, **{how: "2"})
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.FAILED, reason)
    assert str(place.settings.data_dir) not in job.message
    assert (1, 1, "student.pt") in rows.artifacts(job_id)
    if how == "crash":
        assert "ZeroDivisionError in train.py" in job.message


def test_cancel_of_a_running_job(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=50, seconds="0.2")
    running = start()
    until(lambda: rows.artifacts(job_id))
    with place.database.transaction() as session:
        assert lifecycle.request_cancel(session, job_id) == Status.CANCELLING
    running.join()
    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.CANCELLED, "user_cancelled")
    assert rows.artifacts(job_id)


TOLD = ["metrics.jsonl", "report.html", "report.png", "resolved_spec.json", "warnings.jsonl"]


def told(place: Workplace) -> dict[str, str]:
    """What was stored of an attempt's end."""
    return {path.name: path.read_text() for path in (place.storage.root / "jobs").glob("*/attempt-1/final/*")}


@pytest.mark.parametrize("how", ["crash", "oom", "fail"])
def test_a_job_that_fails_leaves_what_its_run_has_told(place: Workplace, rows: Rows, how: str) -> None:
    writes = [*TOLD, "student.safetensors", "result.json", "private.key"]
    job_id = rows.job(epochs=4, tells=" ".join(writes), **{how: "2"})
    work(place, rows)
    assert rows.get(job_id).status == Status.FAILED
    assert told(place) == {name: f"{name} so far" for name in TOLD}
    last = [(2, name) for name in sorted([*TOLD, "state.pt", "student.pt"])]
    assert [(epoch, name) for _, epoch, name in rows.artifacts(job_id) if epoch == 2] == last


def test_a_job_that_is_cancelled_leaves_what_its_run_has_told(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=50, seconds="5", tells=" ".join(TOLD))  # there is no checkpoint yet
    running = start()
    until(lambda: rows.get(job_id).status == Status.RUNNING)
    with place.database.transaction() as session:
        lifecycle.request_cancel(session, job_id)
    running.join()
    assert rows.get(job_id).status == Status.CANCELLED
    assert rows.artifacts(job_id) == [(1, 0, name) for name in TOLD]
    assert told(place) == {name: f"{name} so far" for name in TOLD}


def test_what_a_run_has_told_and_cannot_be_kept_changes_no_end(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=4, fail="1", tells="warnings.jsonl", link="yes")
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.FAILED, "nan_loss")
    assert "report.html" not in [name for _, _, name in rows.artifacts(job_id)]


def test_what_is_too_large_to_be_told_in_a_moment_is_left(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=4, fail="1", tells="report.html", swells="metrics.jsonl")
    work(place, rows)
    assert rows.get(job_id).reason == "nan_loss"
    assert told(place) == {"report.html": "report.html so far"}


def test_a_trainer_that_does_not_stop_is_killed_with_its_group(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=500, seconds="0.2", deaf="yes", grandchild="yes")
    running = start()
    pids = until(lambda: (path := place.folder(job_id, 1) / "trainer.log.pids").exists() and path.read_text()).split()
    with place.database.transaction() as session:
        lifecycle.request_cancel(session, job_id)
    running.join()
    assert rows.get(job_id).status == Status.CANCELLED
    assert not any(psutil.pid_exists(int(pid)) and _alive(int(pid)) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_timeout(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=500, seconds="0.2", timeout=1)
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.FAILED, "timeout")
    assert rows.artifacts(job_id)


@pytest.mark.slow
def test_a_drained_worker_gives_the_job_back_and_the_next_one_resumes(
    place: Workplace, rows: Rows, start: Start
) -> None:
    job_id = rows.job(epochs=4, holds="3")
    running = start()
    until(lambda: (1, 2, "state.pt") in rows.artifacts(job_id))
    place.draining.set()
    running.join()
    job = rows.get(job_id)
    assert (job.status, job.lost_workers, job.attempt) == (Status.QUEUED, 0, 1)
    place.draining.clear()
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 2)
    assert "resumed after" in job.result["note"]


def test_resume_falls_back_on_the_checkpoint_before_a_damaged_one(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=3, crash="2")
    work(place, rows)
    [newest] = place.storage.root.glob(f"jobs/{job_id}/*/epoch-2/state.pt")
    newest.write_text("torn")
    with place.database.transaction() as session:
        session.execute(update(Job).values(status=Status.QUEUED, spec=rows.get(job_id).spec | {"labels": {}}))
    work(place, rows)
    assert rows.get(job_id).result["note"] == "resumed after 1"


def test_a_fenced_worker_stops_and_writes_nothing(place: Workplace, rows: Rows, start: Start) -> None:
    job_id = rows.job(epochs=100, seconds="0.3", grandchild="yes")
    running = start()
    pids = until(lambda: (path := place.folder(job_id, 1) / "trainer.log.pids").exists() and path.read_text()).split()
    until(lambda: rows.artifacts(job_id))
    with place.database.transaction() as session:  # what the reaper does when it thinks that the worker is dead
        session.execute(update(Job).values(status=Status.QUEUED, lease_until=None))
    second = rows.claim()
    assert second is not None
    assert second.attempt == 2
    running.join()
    before = rows.artifacts(job_id)
    assert rows.get(job_id).status == Status.STARTING
    assert {attempt for attempt, _, _ in before} == {1}
    assert not any(_alive(int(pid)) for pid in pids)
    supervisor.run(place, second, (*TRAINER[:1], "-c", "raise SystemExit(0)"))
    assert rows.get(job_id).reason == "internal"


def test_a_trainer_that_somebody_else_stopped_counts_as_a_lost_worker(
    place: Workplace, rows: Rows, start: Start
) -> None:
    job_id = rows.job(epochs=100, seconds="0.3", grandchild="yes")
    running = start()
    pid = until(lambda: (path := place.folder(job_id, 1) / "trainer.log.pids").exists() and path.read_text()).split()[0]
    os.kill(int(pid), signal.SIGTERM)
    running.join()
    with place.database.transaction() as session:
        assert expiry.expire(session, max_lost_workers=2) == [job_id]
    job = rows.get(job_id)
    assert (job.status, job.lost_workers) == (Status.QUEUED, 1)


def test_a_damaged_input_fails_the_job(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    place.storage.path(rows.get(rows.dataset).key).write_text("torn")
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.FAILED, "dataset_invalid")
    assert rows.dataset in job.message


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["servers"], indirect=True)
def test_training_outlives_a_database_outage(place: Workplace, rows: Rows, start: Start, postgres: Postgres) -> None:
    job_id = rows.job(epochs=12, seconds="0.3")
    running = start()
    until(lambda: rows.artifacts(job_id))
    postgres.refuse(place.settings.database_url, True)
    time.sleep(2.5)  # longer than the lease of 2 s, shorter than with its grace of 1 s
    postgres.refuse(place.settings.database_url, False)
    running.join()
    job = rows.get(job_id)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
    assert "from scratch" in job.result["note"]
    with place.database.transaction() as session:
        assert session.query(JobEpoch).count() == 12


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["servers"], indirect=True)
def test_training_stops_when_the_outage_outlasts_the_grace(
    place: Workplace, rows: Rows, start: Start, postgres: Postgres
) -> None:
    job_id = rows.job(epochs=100, seconds="0.3", grandchild="yes")
    running = start()
    until(lambda: rows.artifacts(job_id))
    pids = (place.folder(job_id, 1) / "trainer.log.pids").read_text().split()
    postgres.refuse(place.settings.database_url, True)
    running.join()
    postgres.refuse(place.settings.database_url, False)
    assert not any(_alive(int(pid)) for pid in pids)
    with place.database.transaction() as session:
        assert expiry.expire(session, max_lost_workers=2) == [job_id]


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_a_full_storage_ends_the_job_and_keeps_the_earlier_checkpoint(place: Workplace, rows: Rows) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place.storage.root], check=True)
    try:
        rows.dataset = rows.upload(b"images", UploadStatus.READY)
        job_id = rows.job(epochs=50, ballast="400000")
        for attempt in range(1, MOST_FULL_DISKS + 1):  # the disk may be somebody else's doing: the job goes back first
            assert (rows.get(job_id).status, rows.get(job_id).attempt) == (Status.QUEUED, attempt - 1)
            work(place, rows)
        job = rows.get(job_id)
        assert (job.status, job.reason, job.lost_workers) == (Status.FAILED, "disk_full", 0)
        assert job.message.startswith(f"hit a full disk in {MOST_FULL_DISKS} attempts in a row; the last time: ")
        assert rows.artifacts(job_id) == [(1, e, name) for e in (1, 2) for name in ("state.pt", "student.pt")]
        with place.database.transaction() as session:
            for row in session.query(Artifact):
                assert place.storage.verify(row.key, row.sha256)
        assert not any((place.storage.root / "incoming").iterdir())  # nothing half-written
    finally:
        subprocess.run(["umount", "--lazy", place.storage.root], check=True)


def test_a_character_that_postgresql_does_not_store_keeps_no_job_from_its_end(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(fail="1", says="a class called \ufffe")
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.FAILED, "nan_loss")
    assert job.message.endswith("a class called \ufffd")
    assert job.problems == [{"where": "\ufffd", "detail": "\ufffd"}]


def test_a_trainer_that_met_a_full_disk_leaves_its_job_to_another(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=2, full="yes")
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason, job.lost_workers) == (Status.QUEUED, None, 0), job.message
    work(place, rows)
    assert (rows.get(job_id).status, rows.get(job_id).attempt) == (Status.SUCCEEDED, 2)


@pytest.fixture
def full(place: Workplace, rows: Rows) -> None:
    """Let the database refuse the first resolved spec because its disk is full."""
    engine = place.database.engine
    if engine.dialect.name == "sqlite":
        pages = [1]  # that it may have; if fewer than it has, then no more than those

        def limit(connection: Any, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count={pages[0]}")

        sa.event.listen(engine, "checkout", limit)
        sa.event.listen(engine, "handle_error", lambda _: pages.__setitem__(0, 2**30))
        return
    refuse = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') = 1 THEN RAISE 'no space left on device' USING ERRCODE = '53100'; END IF;
            RETURN NEW;
        END $$"""
    trigger = """
        CREATE TRIGGER refuse BEFORE UPDATE ON job FOR EACH ROW
        WHEN (OLD.resolved_spec IS NULL AND NEW.resolved_spec IS NOT NULL) EXECUTE FUNCTION refuse()"""
    with place.database.transaction() as session:
        for statement in ("CREATE SEQUENCE tries", refuse, trigger):
            session.execute(sa.text(statement))


def test_a_trainer_that_ends_while_the_databases_disk_is_full_leaves_its_job_to_another(
    place: Workplace, rows: Rows, request: pytest.FixtureRequest
) -> None:
    event = {"event": "resolved", "resolved_spec": {"labels": {"a": "x" * 100_000}}}
    job_id = rows.job(line=json.dumps(event), over="yes")
    held = rows.claim()
    assert held is not None
    request.getfixturevalue("full")  # from now on
    supervisor.run(place, held, TRAINER)
    job = rows.get(job_id)
    assert (job.status, job.reason, job.lost_workers) == (Status.QUEUED, None, 0), job.message


def test_a_heartbeat_notes_that_the_databases_disk_is_full(place: Workplace) -> None:
    """Also a training that writes nothing else meanwhile is not blamed for its end."""
    refused = {  # errors of the real database
        "sqlite": ("PRAGMA max_page_count = 1", "CREATE TABLE large AS SELECT zeroblob(1000000)"),
        "postgresql": ("DO $$ BEGIN RAISE 'no space left on device' USING ERRCODE = '53100'; END $$",),
    }[place.database.engine.dialect.name]

    def renew(session: sa.orm.Session, seconds: float | None) -> None:
        for statement in refused:
            session.execute(sa.text(statement))

    with Lease(place, renew, 60) as lease:
        until(lambda: lease.met_full_disk)


EPOCH = {"event": "epoch", "epoch": 2, "epochs": 2, "losses": {"box": 1.0}, "lr": 0.1, "metrics": {}, "seconds": 1.0}
CHECKPOINT = {"event": "checkpoint", "epoch": 2, "folder": "x", "files": ["state.pt"], "is_best": True, "metrics": {}}
TELLING = [  # an event, and what of it a column, JSON or the event's own meaning has no room for
    *((EPOCH | {"epoch": number}, "epoch") for number in (2**40, 2**63, 10**400, -1, 1.5, None, "x")),
    *((EPOCH | {"losses": {"box": number}}, "losses.box") for number in (math.nan, math.inf, -math.inf, "x")),
    (EPOCH | {"lr": math.nan}, "lr"),
    (EPOCH | {"metrics": {"x" * 100_000: 1.0}}, "metrics"),
    *((CHECKPOINT | {"epoch": number}, "epoch") for number in (2**31, 2**63, -1)),
    (CHECKPOINT | {"files": ["x" * 100_000]}, "files.0"),
    ({"event": "warning", "code": "x", "message": "x", "epoch": 2**40}, "epoch"),
    ({"event": "resolved", "resolved_spec": {"a": [{"b": math.nan}]}}, "resolved_spec"),
    ({"event": "done", "result": {"map": math.inf}}, "result"),
    ({"event": "failed", "reason": "x" * 10_000, "message": "x"}, "reason"),
    ({"event": "stopped", "epoch": 2**40}, "epoch"),
    ({"event": "calibrated", "weights": {"ld": math.nan}, "measured": 1}, "weights.ld"),
]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["servers"], indirect=True)
def test_a_trainers_nonsense_is_told_at_once(place: Workplace, rows: Rows) -> None:
    for event, field in TELLING:
        job_id = rows.job(epochs=1, line=json.dumps(event))
        work(place, rows)
        job = rows.get(job_id)
        told = f"the trainer wrote an event `{event['event']}` that cannot be stored: `{field}"
        assert (job.status, job.reason, job.attempt) == (Status.FAILED, "internal", 1), event
        assert job.message.startswith(told), job.message
        assert len(job.message) < 1000
        assert (1, 1, "state.pt") in rows.artifacts(job_id)  # what was kept before stays


def test_progress_that_cannot_be_is_ignored(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=1, progress=str(2**70))
    work(place, rows)
    assert rows.get(job_id).status == Status.SUCCEEDED


def test_prose_of_any_length_is_cut(place: Workplace, rows: Rows) -> None:
    problems = [{"where": "y" * 10**6}] * 9
    event = {"event": "failed", "reason": "nan_loss", "message": "x" * 10**6, "problems": problems}
    job_id = rows.job(epochs=1, line=json.dumps(event), over="at once")
    work(place, rows)
    job = rows.get(job_id)
    assert (job.status, job.reason) == (Status.FAILED, "nan_loss")
    assert len(job.message) <= 10_000
    assert len(json.dumps(job.problems)) < 2 * 10**6
