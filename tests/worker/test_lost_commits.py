"""The answer to a COMMIT is lost, and the next try finds the row moved on: no file goes that a row names."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update

from api.db import Database
from api.jobs import upload_checks
from api.tables.datasets import Dataset
from api.tables.jobs import Artifact, Job
from api.tables.models import Model, ModelFile
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from tests.commits import lost
from tests.proxy import losing
from tests.rdrkd.data.crafted import make_dataset, zip_up
from tests.worker.conftest import TRAINER, Rows
from worker import inspection, supervisor
from worker.process import RDRKD
from worker.workplace import Workplace


def cut_off(rows: Rows) -> Callable[[], None]:
    """What happens while a worker is cut off: the reaper takes its job back, another worker has it."""

    def fence() -> None:
        with rows.place.database.transaction() as session:
            session.execute(update(Job).values(status=Status.QUEUED, lease_until=None))
        assert rows.claim(lease=60) is not None

    return fence


def assert_whole(rows: Rows, job_id: str) -> None:
    """Every artifact row has its bytes, and there are some."""
    with rows.place.database.transaction() as session:
        artifacts = session.scalars(select(Artifact).where(Artifact.job_id == job_id)).all()
    assert artifacts
    assert all(rows.place.storage.verify(row.key, row.sha256) for row in artifacts)
    assert (rows.get(job_id).status, rows.get(job_id).attempt) == (Status.STARTING, 2)


@pytest.mark.parametrize("backend", ["servers"], indirect=True)
def test_published_files_stay_when_the_connection_is_cut(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=2)
    held = rows.claim(lease=60)
    assert held is not None
    with losing(place.settings.database_url, b"INSERT INTO artifact", cut_off(rows)) as proxy:
        behind = dataclasses.replace(place, database=Database(proxy.url))
        supervisor.run(behind, held, TRAINER)
        behind.database.engine.dispose()
    assert proxy.lost.is_set()
    assert_whole(rows, job_id)


@pytest.mark.slow
def test_published_files_stay_when_the_answer_is_lost(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=2)
    held = rows.claim(lease=60)
    assert held is not None
    behind = dataclasses.replace(place, database=Database(place.settings.database_url))
    with lost(behind.database, Artifact, cut_off(rows)) as losses:
        supervisor.run(behind, held, TRAINER)
    behind.database.engine.dispose()
    assert losses
    assert_whole(rows, job_id)


def test_files_that_no_row_names_go_when_the_attempt_is_fenced(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=2)
    held = rows.claim(lease=60)
    assert held is not None
    cut_off(rows)()
    supervisor.run(place, held, TRAINER)
    assert not list((place.storage.root / "jobs" / job_id).rglob("*.pt"))


def claim(place: Workplace) -> upload_checks.Check:
    with place.database.transaction() as session:
        check = upload_checks.claim(session, "worker-1", 60)
    assert isinstance(check, upload_checks.Check)
    return check


def real(place: Workplace) -> Workplace:
    limits = {"inspect_timeout_seconds": 60, "inspect_memory_bytes": 2**33, "lease_seconds": 60}
    own = Database(place.settings.database_url)
    return dataclasses.replace(place, database=own, settings=place.settings.model_copy(update=limits))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_a_preview_stays_when_the_answer_is_lost(place: Workplace, rows: Rows, tmp_path: Path) -> None:
    row_id = rows.upload(zip_up(make_dataset(tmp_path / "d"), tmp_path / "a.zip").read_bytes())
    behind = real(place)
    check = claim(place)
    with lost(behind.database, Dataset, column="preview_key") as losses:
        inspection.run(behind, check, RDRKD)
    behind.database.engine.dispose()
    row = rows.get(row_id)
    assert losses
    assert (row.status, row.preview_key is not None) == (UploadStatus.READY, True)
    assert place.storage.verify(row.preview_key, row.preview_sha256)
    assert place.storage.verify(row.key, row.sha256)


def test_a_converted_model_stays_and_a_refused_file_goes_when_the_answer_is_lost(place: Workplace, rows: Rows) -> None:
    behind = real(place)
    good = rows.upload(b"good", table=Model)
    with lost(behind.database, ModelFile) as losses:
        inspection.run(behind, claim(place), TRAINER)
    assert losses
    assert rows.get(good).status == UploadStatus.READY
    with place.database.transaction() as session:
        [written] = session.scalars(select(ModelFile)).all()
    assert place.storage.verify(written.key, written.sha256)
    behind.database.engine.dispose()
