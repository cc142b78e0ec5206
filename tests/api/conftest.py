"""The service in this process on a real database, and rows put in by its own functions."""

import logging
import resource
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from api import migrations
from api.access import keys
from api.access.keys_schemas import KeyRequest
from api.db import Database
from api.http.main import create_app
from api.jobs import claims, lifecycle, upload_checks
from api.jobs.claims import Held
from api.jobs.control import transitions
from api.jobs.lifecycle import Ending, Published
from api.settings import Settings
from api.storage import Storage
from api.tables.jobs import Job
from api.tables.states import TERMINAL, Status
from rdrkd.events import Checkpoint, Epoch, Progress
from rdrkd.reasons import Reason
from tests.servers import Postgres


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Commands that run in this process set up its log, for streams that end with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


ZIP = ("data.zip", b"PK\x05\x06" + bytes(18))
MAX_BYTES = 2**24  # of an upload to the steady service
LOCAL = ("127.0.0.1", 50_000)
NOBODY = {"dataset": "ds_" + "0" * 32, "model": "mdl_" + "0" * 32, "job": "job_" + "0" * 32}


@dataclass
class Service:
    """A running service, its client, and hands of a worker."""

    app: FastAPI
    client: httpx2.Client
    database: Database
    storage: Storage

    def key(self, owner: str = "alice", scope: str = "submit", **more: Any) -> dict[str, str]:
        """Make an API key; give the header that carries it."""
        with self.database.transaction() as session:
            _, key = keys.create(session, KeyRequest(name="a test's", owner=owner, scope=scope, **more))
        return {"Authorization": f"Bearer {key}"}

    def upload(self, feature: str = "datasets", file: tuple[str, bytes] = ZIP) -> str:
        return self.client.post(f"/v1/{feature}", files={"file": file}).raise_for_status().json()["id"]

    def settle(self, *problems: str) -> None:
        """Check the oldest unchecked upload, as a worker does."""
        with self.database.transaction() as session:
            check = upload_checks.claim(session, "checker", 60)
            upload_checks.settle(
                session, check, {"names": ["car"]}, [{"where": "data.yaml", "detail": p} for p in problems]
            )

    def dataset(self) -> str:
        """Return a dataset that is ready."""
        dataset = self.upload()
        others = []  # that come before it
        with self.database.transaction() as session:
            while (check := upload_checks.claim(session, "checker", 60)).id != dataset:
                others.append(check)
            upload_checks.settle(session, check, {"names": ["car"]}, [])
            for other in others:
                given_back = {"lease_until": None, "worker": None, "attempt": other.attempt - 1}
                session.execute(update(other.table).where(other.table.id == other.id).values(given_back))
        return dataset

    def submit(self, dataset: str, **changes: Any) -> dict[str, Any]:
        body = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": dataset} | changes
        return self.client.post("/v1/jobs", json=body).raise_for_status().json()

    def job(self, status: Status = Status.QUEUED, **changes: Any) -> str:
        """Return a job that has come to `status` the way a worker brings it there."""
        job_id = self.submit(self.dataset(), **changes)["id"]
        if status != Status.QUEUED:
            self.bring(job_id, status)
        return job_id

    def with_baseline(self, epochs: int) -> Held:
        """Return a running job that trains the student for these epochs, and then the student alone."""
        job_id = self.job(train={"epochs": epochs})
        with self.database.transaction() as session:
            job = session.get_one(Job, job_id)
            job.spec = {**job.spec, "baseline": True}
        return self.bring(job_id, Status.RUNNING)

    def bring(self, job_id: str, status: Status) -> Held:
        """Take the queued job `job_id` to `status`."""
        if status == Status.PAUSED:
            self.client.post(f"/v1/jobs/{job_id}/pause").raise_for_status()
            return Held(job_id, 0, "", {}, 0)
        held, others = self.claim(), []
        while held.id != job_id:  # another test's, in a service that they share
            others.append(held)
            held = self.claim()
        for other in others:
            self.requeue(other)
        with self.database.transaction() as session:
            if status != Status.STARTING:
                lifecycle.record_running(session, held)
            if status == Status.PAUSING:
                transitions.pause(session, job_id, "save")
            if status in (Status.CANCELLING, Status.CANCELLED):
                lifecycle.request_cancel(session, job_id)
        if status in TERMINAL:
            self.end(held, status)
        return held

    def end(self, held: Held, status: Status) -> None:
        reasons = {Status.FAILED: Reason.NAN_LOSS, Status.CANCELLED: Reason.USER_CANCELLED}
        self.finish(held, Ending(status, reasons.get(status)))

    def claim(self) -> Held:
        with self.database.transaction() as session:
            held = claims.claim(session, "worker-1", 60)
            assert held is not None
            return held

    def finish(self, held: Held, ending: Ending) -> None:
        with self.database.transaction() as session:
            lifecycle.finish(session, held, ending)

    def requeue(self, held: Held) -> None:
        with self.database.transaction() as session:
            lifecycle.requeue(session, held)

    def progress(self, held: Held, **values: Any) -> None:
        with self.database.transaction() as session:
            lifecycle.renew(session, held, 60, Progress(phase="training", **values))

    def epoch(self, held: Held, number: int, **values: Any) -> None:
        defaults = {"losses": {"box": 1.5}, "lr": 0.01, "metrics": {"mAP50": 10.0 * number}, "seconds": 2.0}
        with self.database.transaction() as session:
            lifecycle.record_epoch(session, held, Epoch(epoch=number, epochs=3, **(defaults | values)))

    def warn(self, held: Held, code: str, message: str, times: int = 1, epoch: int | None = None) -> None:
        with self.database.transaction() as session:
            for _ in range(times):
                lifecycle.record_warning(session, held, code, message, epoch)

    def checkpoint(self, held: Held, epoch: int, folder: Path, is_best: bool = True) -> None:
        """Publish a checkpoint as a worker does."""
        files = []
        for name in ("state.pt", "student.pt"):
            (folder / name).write_bytes(f"{name} {held.attempt} {epoch}".encode())
            stored = self.storage.put_file(folder / name, f"jobs/{held.id}/attempt-{held.attempt}/epoch-{epoch}/{name}")
            files.append(Published(epoch, name, stored.key, stored.sha256, stored.size))
        event = Checkpoint(epoch=epoch, folder="x", files=[], is_best=is_best, metrics={"mAP50": 10.0 * epoch})
        with self.database.transaction() as session:
            lifecycle.publish(session, held, files, event)

    def publish(self, held: Held, epoch: int, content: bytes, folder: Path, name: str = "student.pt") -> str:
        """Publish a file as a worker does; give its sha256."""
        file = folder / name
        file.write_bytes(content)
        stored = self.storage.put_file(file, f"jobs/{held.id}/attempt-{held.attempt}/epoch-{epoch}/{name}")
        with self.database.transaction() as session:
            lifecycle.publish(session, held, [Published(epoch, name, stored.key, stored.sha256, stored.size)])
        return stored.sha256

    def files(self) -> list[str]:
        """Name every file of the store."""
        root = self.storage.root
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def _with_hands(app: FastAPI, client: httpx2.Client) -> Iterator[Service]:
    """Yield the service with a database of the test's own: only requests may use the app's."""
    database = Database(app.state.settings.database_url)
    yield Service(app, client, database, app.state.storage)
    database.engine.dispose()


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """Let no file of this process grow beyond `most` bytes: writes then fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


Provoke = Callable[[Service], httpx2.Response]


def without_room(provoke: Provoke) -> Provoke:
    """Ask while the file store has less room than the operator wants to keep free."""

    def ask(service: Service) -> httpx2.Response:
        settings = service.app.state.settings
        service.app.state.settings = settings.model_copy(update={"min_free_bytes": 2**60})
        try:
            return provoke(service)
        finally:
            service.app.state.settings = settings

    return ask


Start = Callable[..., AbstractContextManager[Service]]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the newest revision: copying it is faster than migrating for every test."""
    path = tmp_path_factory.mktemp("migrated") / "rdrkd.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@contextmanager
def serve(
    data_dir: Path,
    migrated: Path,
    client: tuple[str, int] = LOCAL,
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> Iterator[Service]:
    data_dir.mkdir(exist_ok=True)
    if "database_url" not in settings:
        shutil.copy(migrated, data_dir / "rdrkd.db")
    # kombu's in-memory broker: most tests look at rows, and nobody hears the bell.
    app = create_app(Settings(**({"data_dir": data_dir, "broker_url": "memory://"} | settings)))
    with TestClient(app, "http://127.0.0.1", headers=headers, client=client, follow_redirects=False) as http:
        yield from _with_hands(app, http)


@contextmanager
def listening(app: FastAPI) -> Iterator[Service]:
    """The app on a real port: what the client of other fixtures, which calls the app, cannot show."""
    # By name of the protocol: asyncio sends small answers at once only from sockets that say what they are.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        with httpx2.Client(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}", timeout=20) as client:
            yield from _with_hands(app, client)
        app.state.watch.closing = True
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def start(tmp_path: Path, migrated: Path) -> Start:
    """Start a service with settings of one's own."""
    return partial(serve, tmp_path / "var", migrated)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Service]:
    """A service on SQLite that the tests of a module share: for those that change nothing, or clean up."""
    limits = {"max_dataset_bytes": MAX_BYTES, "max_model_bytes": MAX_BYTES}
    with serve(tmp_path_factory.mktemp("steady"), migrated, **limits) as running:
        yield running


@pytest.fixture
def service(start: Start) -> Iterator[Service]:
    """A service on SQLite."""
    with start() as running:
        yield running


Listen = Callable[..., Service]


@pytest.fixture(params=["sqlite", "postgresql"])
def listen(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> Iterator[Listen]:
    """Start API processes, so to speak, that share a database of each kind, each on a port of its own."""
    data_dir = tmp_path / "var"
    data_dir.mkdir()
    with ExitStack() as stack:
        if request.param == "sqlite":
            shutil.copy(migrated, data_dir / "rdrkd.db")
            url = f"sqlite:///{data_dir}/rdrkd.db"
        else:
            url = stack.enter_context(request.getfixturevalue("postgres").migrated())

        def begin(**settings: Any) -> Service:
            common = {"data_dir": data_dir, "broker_url": "memory://", "database_url": url, "migrate_on_start": False}
            app = create_app(Settings(**(common | settings)))
            app.openapi()  # builds every route: pydantic cannot do so in two threads at once, as two apps here would
            return stack.enter_context(listening(app))

        yield begin


@pytest.fixture(params=["sqlite", "postgresql"])
def each_service(request: pytest.FixtureRequest, start: Start) -> Iterator[Service]:
    """A service on SQLite, and one on a real PostgreSQL."""
    if request.param == "sqlite":
        with start() as running:
            yield running
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.migrated() as url, start(database_url=url, migrate_on_start=False) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def operated(request: pytest.FixtureRequest, start: Start) -> Iterator[Service]:
    """A service on each database that never is open, asked by its operator: keys and rates play no part."""
    with ExitStack() as stack:
        database = {}
        if request.param == "postgresql":
            url = stack.enter_context(request.getfixturevalue("postgres").migrated())
            database = {"database_url": url, "migrate_on_start": False}
        yield stack.enter_context(start(token="t", headers={"Authorization": "Bearer t"}, **database))
