"""The whole service as real processes, on each backend, with the real trainer on tiny scenes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from sqlalchemy import select

from api.db import Database
from api.tables.jobs import Artifact
from api.wake_ups import TRAIN, Doorbell
from rdrkd.data.scenes import write_scenes
from tests.servers import Backend

ROOT = Path(__file__).resolve().parents[2]
SERVERS = pytest.mark.parametrize("backend", ["servers"], indirect=True)  # where SQLite would show nothing more
# For tests of the default suite that take a while: the servers are the slow suite's.
BOTH = pytest.mark.parametrize("backend", ["embedded", pytest.param("servers", marks=pytest.mark.slow)], indirect=True)
TIMES = {
    "RDRKD_LEASE_SECONDS": "6",
    "RDRKD_HEARTBEAT_SECONDS": "1",
    "RDRKD_CANCEL_POLL_SECONDS": "0.2",
    "RDRKD_REAPER_SECONDS": "0.5",
    "RDRKD_RING_AGAIN_SECONDS": "1",
    "RDRKD_STOP_GRACE_SECONDS": "10",
}
COMMANDS = {
    "api": ["api"],
    "reaper": ["api.reaper"],
    "train": ["worker", "--queue", "train"],
    "inspect": ["worker", "--queue", "inspect"],
}


def until(condition: Callable[[], Any], seconds: float = 120, every: float = 0.1) -> Any:
    """Wait until `condition` gives something true, and give that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(every)
    raise AssertionError(f"not true within {seconds} s")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Service:
    """API, reaper and workers as processes of this machine, and a client that speaks HTTP with them."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend, self.folder = backend, folder
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        urls = {"RDRKD_DATABASE_URL": backend.database_url, "RDRKD_BROKER_URL": backend.broker_url}
        place = {"RDRKD_DATA_DIR": str(folder / "var"), "RDRKD_PORT": str(self.port), "RDRKD_TOKEN": "e2e-token"}
        self.environment = inherited | urls | place | TIMES | {"OMP_NUM_THREADS": "1"}
        self.processes: list[subprocess.Popen[bytes]] = []
        base, token = f"http://127.0.0.1:{self.port}", {"Authorization": "Bearer e2e-token"}
        self.client = httpx2.Client(base_url=base, headers=token, timeout=30)
        self.database = Database(backend.database_url)

    def start(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *COMMANDS[name]],
                cwd=ROOT,
                env=self.environment | environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_api(self) -> subprocess.Popen[bytes]:
        if self.backend.name == "servers":
            migrate = [sys.executable, "-m", "api", "migrate"]
            subprocess.run(migrate, cwd=ROOT, env=self.environment, check=True, capture_output=True)
        process = self.start("api")
        until(self._answers, 60)
        return process

    def _answers(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        """Stop everything in order; what does not stop is killed."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.client.close()
        self.database.engine.dispose()

    def upload(self, collection: str, path: Path) -> str:
        with path.open("rb") as file:
            answer = self.client.post(f"/v1/{collection}", files={"file": (path.name, file)})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def checked(self, collection: str, row_id: str) -> dict[str, Any]:
        def settled() -> dict[str, Any] | None:
            row = self.client.get(f"/v1/{collection}/{row_id}").json()
            return row if row["status"] != "checking" else None

        return until(settled)

    def submit(self, **spec: Any) -> str:
        answer = self.client.post("/v1/jobs", json=spec)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/v1/jobs/{job_id}").json())

    def wait(self, job_id: str, *status: str, seconds: float = 240) -> dict[str, Any]:
        """Wait until a job has ended (or has one of the given states)."""
        wanted = status or ("succeeded", "failed", "cancelled")
        try:
            return until(lambda: (job := self.job(job_id))["status"] in wanted and job, seconds)
        except AssertionError:
            raise AssertionError(f"expected {wanted}, got {self.job(job_id)}\n{self.logs()}") from None

    def artifacts(self, job_id: str) -> list[Artifact]:
        with self.database.transaction() as session:
            order = (Artifact.attempt, Artifact.epoch, Artifact.name)
            return list(session.scalars(select(Artifact).where(Artifact.job_id == job_id).order_by(*order)))

    def checkpoint_of(self, job_id: str, attempt: int) -> int | None:
        """Return the newest epoch of which an attempt has published a state to resume from."""
        epochs = [a.epoch for a in self.artifacts(job_id) if a.attempt == attempt and a.name == "state.pt"]
        return max(epochs, default=None)

    def ring(self, row_id: str, times: int = 1) -> None:
        bell = Doorbell(self.backend.broker_url)
        for _ in range(times):
            assert bell.send(TRAIN, row_id)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def trainers(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """Return the processes that a worker has started, and theirs."""
        return [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]


@pytest.fixture
def service(backend: Backend, tmp_path: Path) -> Iterator[Service]:
    """The API alone; a test starts the reaper and the workers that it needs."""
    service = Service(backend, tmp_path)
    try:
        service.start_api()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of a few easy scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "scenes", "demo", {"train": 16, "val": 4}, imgsz=64)
    return Path(shutil.make_archive(str(folder / "scenes"), "zip", folder, "scenes"))


def quick(epochs: int = 2, **changes: Any) -> dict[str, Any]:
    """Return the train settings of a run that takes a second an epoch."""
    short = {"imgsz": 64, "batch": 8, "optimizer": "AdamW", "lr0": 0.001, "mosaic": 0.0, "warmup_epochs": 0}
    return {"epochs": epochs, **short, **changes}
