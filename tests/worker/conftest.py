"""A workplace on each backend, and rows to work on."""

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.db import Base, new_id
from api.jobs import claims, unblocking, upload_checks
from api.jobs.claims import Held
from api.settings import Settings
from api.tables.datasets import Dataset
from api.tables.jobs import Artifact, Job
from api.tables.logs import JobLog
from api.tables.models import Model
from api.tables.uploads import UploadStatus
from tests.servers import Backend
from worker import supervisor
from worker.workplace import Workplace

ROOT = Path(__file__).resolve().parents[2]
TRAINER = (sys.executable, str(Path(__file__).with_name("trainer.py")))


def settings_for(backend: Backend, data_dir: Path, **changes: Any) -> Settings:
    """Return settings with short times."""
    short = {"lease_seconds": 2, "heartbeat_seconds": 0.2, "cancel_poll_seconds": 0.1, "stop_grace_seconds": 1}
    urls = {"database_url": backend.database_url, "broker_url": backend.broker_url, "data_dir": data_dir}
    return Settings(**(urls | short | {"outage_grace_seconds": 1, "max_lost_workers": 2} | changes))


@pytest.fixture
def place(backend: Backend, tmp_path: Path) -> Iterator[Workplace]:
    place = Workplace.open(settings_for(backend, tmp_path / "var"))
    Base.metadata.create_all(place.database.engine)
    yield place
    place.database.engine.dispose()


class Rows:
    """Makes rows, reads rows."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.dataset = self.upload(b"images", UploadStatus.READY)

    def upload(
        self,
        content: bytes,
        status: UploadStatus = UploadStatus.CHECKING,
        table: upload_checks.Table = Dataset,
        **more: Any,
    ) -> str:
        stored = self.place.storage.put(io.BytesIO(content), ".zip" if table is Dataset else ".pt")
        row = table(id=new_id("ds" if table is Dataset else "mdl"), filename="x.zip", status=status, **more)
        row.key, row.sha256, row.size = stored.key, stored.sha256, stored.size
        with self.place.database.transaction() as session:
            session.add(row)
        return row.id

    def job(
        self, epochs: int = 2, priority: int = 0, timeout: int = 60, spec: dict[str, Any] | None = None, **do: str
    ) -> str:
        whole = {"kind": "train", "dataset": self.dataset, "model": {"architecture": "yolov8n"}}
        whole |= {"train": {"epochs": epochs}, "labels": do} | (spec or {})
        row = Job(id=new_id("job"), kind="train", spec=whole, priority=priority, timeout_seconds=timeout)
        with self.place.database.transaction() as session:
            session.add(row)
            session.flush()
            unblocking.enter(session, row)
        return row.id

    def get(self, row_id: str) -> Any:
        table = {"job": Job, "ds": Dataset, "mdl": Model}[row_id.split("_")[0]]
        with self.place.database.transaction() as session:
            return session.get(table, row_id)

    def artifacts(self, job_id: str) -> list[tuple[int, int, str]]:
        with self.place.database.transaction() as session:
            rows = session.query(Artifact).where(Artifact.job_id == job_id).all()
        return sorted((row.attempt, row.epoch, row.name) for row in rows)

    def log(self, job_id: str) -> list[tuple[int, str]]:
        """Return the pieces of a job's logs, each with its attempt."""
        with self.place.database.transaction() as session:
            rows = select(JobLog).where(JobLog.job_id == job_id).order_by(JobLog.attempt, JobLog.number)
            return [(row.attempt, row.text) for row in session.scalars(rows)]

    def claim(self, lease: float | None = None) -> Held | None:
        with self.place.database.transaction() as session:
            return claims.claim(session, self.place.name, lease or self.place.settings.lease_seconds)


@pytest.fixture
def rows(place: Workplace) -> Rows:
    return Rows(place)


class Running:
    """An attempt in a thread of its own."""

    def __init__(self, place: Workplace, held: Held) -> None:
        self.thread = threading.Thread(target=supervisor.run, args=(place, held, TRAINER))
        self.thread.start()

    def join(self) -> None:
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def start(place: Workplace, rows: Rows) -> Iterator[Callable[[], Running]]:
    started: list[Running] = []

    def begin() -> Running:
        held = rows.claim()
        assert held is not None
        started.append(Running(place, held))
        return started[-1]

    yield begin
    place.draining.set()
    for running in started:
        running.join()


def until(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait until `condition` gives something true, and give that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not true within {seconds} s")
