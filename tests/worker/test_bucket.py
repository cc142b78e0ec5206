"""A worker whose files lie in a bucket: what it fetches and keeps, what its trainer sees, and when it goes away."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.db import Base
from api.jobs import upload_checks
from api.storage import open_storage
from api.storage.bucket import BucketStorage
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from rdrkd.process import trainer_sandbox
from tests.s3 import ACCESS_KEY, S3, SECRET
from tests.servers import Backend
from tests.worker.conftest import TRAINER, Rows, settings_for
from worker import inspection, supervisor
from worker.workplace import Workplace


@pytest.fixture(params=["embedded"])
def backend(tmp_path: Path) -> Backend:
    return Backend("embedded", f"sqlite:///{tmp_path}/rdrkd.db", f"sqla+sqlite:///{tmp_path}/broker.db")


@pytest.fixture
def place(backend: Backend, tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    monkeypatch.setattr("api.storage.bucket.PATIENT", {"max_retries": 0})
    place = Workplace.open(settings_for(backend, tmp_path / "var", **s3.settings()))
    assert isinstance(place.storage, BucketStorage)
    Base.metadata.create_all(place.database.engine)
    yield place
    place.database.engine.dispose()


def work(place: Workplace, rows: Rows) -> None:
    held = rows.claim()
    assert held is not None
    supervisor.run(place, held, TRAINER)


def away(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bucket not answer any more."""
    gone = open_storage(place.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    monkeypatch.setattr(place.storage, "_store", gone._store)


@pytest.mark.slow
def test_a_job_fetches_its_inputs_and_keeps_its_checkpoints_in_the_bucket(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=3, environment="yes")

    work(place, rows)

    job, dataset = rows.get(job_id), rows.get(rows.dataset)
    assert job.status == Status.SUCCEEDED
    argv = job.resolved_spec["argv"]
    given = Path(argv[argv.index("--dataset") + 1])
    assert given.name == f"{dataset.sha256}.zip"
    assert given.is_relative_to(place.folder(job_id, 1).parent)  # a link of its own, which went with the run
    assert not given.exists()
    assert (place.settings.data_dir / "objects" / given.name).exists()
    kept = {file.key for file in place.storage.stored() if file.key.startswith("jobs/")}
    assert kept == {
        f"jobs/{job_id}/attempt-1/{folder}/{name}"
        for folder, name in (("epoch-2", "student.pt"), ("epoch-3", "student.pt"))
    } | {f"jobs/{job_id}/attempt-1/final/result.json"}
    seen = json.dumps(job.resolved_spec)
    assert SECRET not in seen
    assert ACCESS_KEY not in seen


CHANGES = """
import json, os, sys
path = sys.argv[sys.argv.index("--dataset") + 1]
def may(what):
    try:
        what()
        return True
    except OSError:
        return False
ways = {
    "write": lambda: open(path, "r+b"),
    "truncate": lambda: os.truncate(path, 0),
    "link": lambda: os.link(path, "mine"),
    "move": lambda: os.rename(path, "mine"),
    "replace": lambda: open(path + ".new", "wb"),
    "remove": lambda: os.remove(path),
}
done = [name for name, way in ways.items() if may(way)]
content = open(path, "rb").read().decode()
print(json.dumps({"event": "failed", "reason": "nan_loss", "message": f"{done} {content}"}), flush=True)
sys.exit(3)
"""


@pytest.mark.skipif(
    trainer_sandbox.supported() < 3, reason="this kernel's Landlock does not keep files from truncation"
)
def test_a_trainer_cannot_change_what_it_is_given(place: Workplace, rows: Rows, tmp_path: Path) -> None:
    script = tmp_path / "changes.py"
    script.write_text(CHANGES)
    job_id = rows.job()
    held = rows.claim()
    assert held is not None

    supervisor.run(place, held, (sys.executable, str(script)))

    assert rows.get(job_id).message == "[] images"
    assert not list(place.runs.glob("*/*.inputs"))


def test_a_damaged_input_fails_the_job(place: Workplace, rows: Rows, tmp_path: Path) -> None:
    job_id = rows.job()
    (tmp_path / "torn").write_bytes(b"torn")
    place.storage.put_file(tmp_path / "torn", rows.get(rows.dataset).key)

    work(place, rows)

    assert (rows.get(job_id).status, rows.get(job_id).reason) == (Status.FAILED, "dataset_invalid")


def test_another_attempt_goes_on_from_the_newest_checkpoint_that_is_whole(
    place: Workplace, rows: Rows, tmp_path: Path
) -> None:
    job_id = rows.job(epochs=4, crash="3")  # one that succeeds keeps nothing to resume from
    work(place, rows)
    (tmp_path / "torn").write_bytes(b"torn")
    place.storage.put_file(tmp_path / "torn", f"jobs/{job_id}/attempt-1/epoch-3/state.pt")
    rows.job(epochs=4, spec={"dataset": rows.dataset})
    with place.database.transaction() as session:
        checkpoints = supervisor.checkpoint_transfer.all_of(session, job_id)

    assert supervisor.checkpoint_transfer.restore(place.storage, checkpoints, tmp_path / "run") == 2

    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["0002"]


@pytest.mark.slow
def test_a_bucket_that_is_away_costs_no_job(place: Workplace, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = rows.job(epochs=2)
    with monkeypatch.context() as outage:
        away(place, outage)
        work(place, rows)
        assert (rows.get(job_id).status, rows.get(job_id).lost_workers) == (Status.QUEUED, 0)

    work(place, rows)

    assert (rows.get(job_id).status, rows.get(job_id).attempt) == (Status.SUCCEEDED, 2)


def test_a_checkpoint_that_cannot_be_kept_gives_the_job_back(
    place: Workplace, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = rows.job(epochs=3)
    fetch = place.storage.fetch

    with monkeypatch.context() as outage:

        def fetch_then_lose(*asked: object) -> Path | None:
            found = fetch(*asked)
            away(place, outage)
            return found

        outage.setattr(place.storage, "fetch", fetch_then_lose)
        work(place, rows)
        assert (rows.get(job_id).status, rows.get(job_id).lost_workers) == (Status.QUEUED, 0)
        assert rows.artifacts(job_id) == []


def test_a_check_waits_for_the_bucket(place: Workplace, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = rows.upload(b"good", UploadStatus.CHECKING)

    def check() -> str:
        with place.database.transaction() as session:
            claimed = upload_checks.claim(session, place.name, 60)
        assert claimed is not None
        inspection.run(place, claimed, TRAINER)
        return rows.get(upload).status

    with monkeypatch.context() as outage:
        away(place, outage)
        assert check() == UploadStatus.CHECKING
    assert check() in (UploadStatus.READY, UploadStatus.INVALID)
