"""Files that no row names, and checkpoints that the policy does not keep: what goes, and what never does."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from api.db import Base
from api.errors import Unavailable
from api.jobs.checkpoint_retention import Retention
from api.jobs.lifecycle import Ending
from api.reaper import Reaper
from api.storage import deletions, unreferenced
from api.tables.datasets import Dataset
from api.tables.jobs import Artifact
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from tests.api.conftest import ZIP, Service, Start

KEY = "jobs/job_{}/attempt-1/epoch-1/student.pt"


@pytest.fixture(params=["folder", "bucket"])
def service(request: pytest.FixtureRequest, start: Start) -> Iterator[Service]:
    bucket = request.getfixturevalue("s3").settings() if request.param == "bucket" else {}
    with start(**bucket) as running:
        yield running


def keys(service: Service) -> set[str]:
    return {file.key for file in service.storage.stored()}


def collect(service: Service, older_than_seconds: float = -1, **more) -> int:
    return unreferenced.collect(service.database, service.storage, older_than_seconds, **more)


def test_every_column_that_names_files_is_looked_at() -> None:
    """A feature that keeps files and is not listed would lose them."""
    keys = {f"{table.name}.{column.name}" for table in Base.metadata.sorted_tables for column in table.columns
            if column.name.endswith("key") and getattr(column.type, "length", 0) == 300}  # fmt: skip

    assert keys - {"discard.key"} == {f"{column.class_.__tablename__}.{column.key}" for column in deletions.NAMING}


def test_only_what_no_row_names_goes(service: Service, tmp_path: Path) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    [named] = keys(service)
    service.publish(held, 1, b"weights", tmp_path)
    before = keys(service)
    service.storage.put(io.BytesIO(b"orphan"), ".zip")
    service.storage.put_file(tmp_path / "student.pt", KEY.format("gone"))

    assert collect(service) == 2

    assert keys(service) == before >= {named}


@pytest.mark.slow
def test_the_young_and_what_a_running_job_has_stored_but_not_published_stay(service: Service, tmp_path: Path) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    (tmp_path / "x.pt").write_bytes(b"x")
    unpublished = f"jobs/{held.id}/attempt-1/epoch-9/x.pt"
    service.storage.put_file(tmp_path / "x.pt", unpublished)
    young = service.storage.put(io.BytesIO(b"young"), ".zip").key

    assert collect(service, older_than_seconds=3600) == 0
    assert collect(service) == 1  # of any age: the upload goes

    assert young not in keys(service)
    assert unpublished in keys(service)
    service.end(held, Status.FAILED)
    assert collect(service) == 1


def test_a_preview_that_no_row_names_goes_once_its_dataset_is_checked(service: Service, tmp_path: Path) -> None:
    row_id = service.upload()
    (tmp_path / "x.jpg").write_bytes(b"x")
    preview = f"previews/{row_id}/attempt-1.jpg"
    service.storage.put_file(tmp_path / "x.jpg", preview)

    assert collect(service) == 0  # the check may be about to name it

    with service.database.transaction() as session:
        session.get(Dataset, row_id).status = UploadStatus.READY
    assert collect(service) == 1
    assert preview not in keys(service)


def test_a_row_that_appears_while_it_collects_keeps_its_file(service: Service) -> None:
    service.storage.put(io.BytesIO(ZIP[1]), ".zip")

    assert collect(service, found=lambda _: service.upload() and None) == 1

    assert len(keys(service)) == 1
    assert all(service.storage.exists(key) for key in keys(service))


@pytest.mark.slow
def test_uploads_and_collection_side_by_side_leave_no_row_without_its_file(
    start: Start, request: pytest.FixtureRequest
) -> None:
    """On PostgreSQL, where both really run at once: an upload is taken with its file, or refused."""
    with request.getfixturevalue("postgres").migrated() as url, start(database_url=url) as service:
        done = threading.Event()

        def go_on() -> None:
            while not done.is_set():
                collect(service)

        collector = threading.Thread(target=go_on)
        collector.start()
        taken = 0
        for number in range(60):
            content = ZIP[1] + bytes([number % 5])  # the same few contents again and again
            answer = service.client.post("/v1/datasets", files={"file": ("data.zip", content)})
            assert answer.status_code in (201, 202, 503), answer.text
            if answer.status_code == 503:
                continue
            taken += 1
            assert service.storage.exists(f"uploads/{answer.json()['sha256']}.zip")
            if number % 2:
                assert service.client.delete(f"/v1/datasets/{answer.json()['id']}").status_code == 204
        done.set()
        collector.join()
        assert taken > 0
        with service.database.transaction() as session:
            named = set(session.scalars(select(deletions.NAMING[0])))
        assert named <= keys(service)


@pytest.mark.slow
def test_a_request_that_fails_keeps_the_file_that_another_has_by_then(service: Service) -> None:
    stored = service.storage.put(io.BytesIO(ZIP[1]), ".zip")
    service.upload()

    deletions.drop_unnamed(service.database, service.storage, stored.key)

    assert service.storage.exists(stored.key)


def test_a_file_that_was_collected_in_that_moment_is_asked_for_again(service: Service) -> None:
    stored = service.storage.put(io.BytesIO(b"x"), ".zip")
    collect(service)

    with pytest.raises(Unavailable, match="just been removed"), service.database.transaction() as session:
        deletions.hold(session, service.storage, stored.key)


def trained(service: Service, folder: Path, epochs: int, best: int) -> str:
    """Return a job that has ended, all its checkpoints kept."""
    held = service.bring(service.job(), Status.RUNNING)
    for epoch in range(1, epochs + 1):
        service.checkpoint(held, epoch, folder, is_best=epoch <= best)
    service.finish(held, Ending(Status.SUCCEEDED))
    return held.id


def left(service: Service, job_id: str) -> set[int]:
    with service.database.transaction() as session:
        return set(session.scalars(select(Artifact.epoch).where(Artifact.job_id == job_id)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, {6, 7}),
        ({"checkpoints_keep_last": 1}, {7}),
        ({"checkpoints_keep_last": 1, "checkpoints_keep_best": True}, {3, 7}),
        ({"checkpoints_keep_last": 1, "checkpoints_keep_every": 2}, {2, 4, 6, 7}),
        ({"checkpoints_keep_last": 20}, {1, 2, 3, 4, 5, 6, 7}),
        ({"checkpoints_keep_last": 20, "checkpoints_keep_state": True}, {1, 2, 3, 4, 5, 6, 7}),
    ],
)
def test_the_reaper_keeps_of_an_ended_job_what_the_policy_says(
    service: Service, tmp_path: Path, policy: dict, expected: set[int]
) -> None:
    job_id = trained(service, tmp_path, 7, best=3)
    reaper = Reaper(service.app.state.settings.model_copy(update=policy))
    version = service.client.get(f"/v1/jobs/{job_id}").headers["ETag"]

    reaper.sweep()

    assert left(service, job_id) == expected
    names = ["student.pt"] + ["state.pt"] * ("checkpoints_keep_state" in policy)  # which nothing resumes from any more
    files = {f"jobs/{job_id}/attempt-1/epoch-{n}/{name}" for n in expected for name in names}
    assert {key for key in keys(service) if key.startswith("jobs/")} == files
    shown = [row["epoch"] for row in service.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]]
    assert set(shown) == expected
    assert service.client.get(f"/v1/jobs/{job_id}/weights").status_code in (200, 307)
    changed = service.client.get(f"/v1/jobs/{job_id}").headers["ETag"]
    reaper.sweep()
    assert (changed != version) == (len(names) == 1 or len(expected) < 7)
    assert service.client.get(f"/v1/jobs/{job_id}").headers["ETag"] == changed
    reaper.database.engine.dispose()


@pytest.mark.slow
def test_a_job_that_goes_on_meanwhile_is_left_alone(service: Service, tmp_path: Path) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    for epoch in (1, 2, 3, 4):
        service.checkpoint(held, epoch, tmp_path)
    reaper = Reaper(service.app.state.settings)

    reaper.sweep()

    assert left(service, held.id) == {1, 2, 3, 4}  # its worker prunes it
    reaper.database.engine.dispose()


def test_attempts_without_a_checkpoint_do_not_push_those_out_that_have_one() -> None:
    files = [((1, epoch), name) for epoch in (1, 2, 3) for name in ("state.pt", "student.pt", "metrics.jsonl")]
    told = [((attempt, 0), "metrics.jsonl") for attempt in (2, 3, 4)]

    assert Retention(last=2).kept(files + told, best=None) == {(1, 2), (1, 3), (4, 0)}


def test_what_is_abandoned_on_its_way_in_is_no_orphan(service: Service) -> None:
    path = service.storage.incoming_path("upl_1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (0, 0))

    assert collect(service) == 0
    assert path.exists()
