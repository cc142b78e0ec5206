"""The service on the test stand: API, reapers and workers as processes that are started again when they end."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from api.db import Database
from api.settings import Settings
from api.storage import Storage, open_storage
from tests.faults import network
from tests.faults.backends import Backend, Servers
from tests.faults.bucket import Bucket
from tests.faults.clocks import Clock
from tests.faults.proxy import Loop, Proxy

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "the-token-of-the-test-stand"  # nothing else listens to it
SETTINGS = {
    "lease_seconds": 4, "heartbeat_seconds": 0.5, "cancel_poll_seconds": 0.2, "stop_grace_seconds": 2,
    "outage_grace_seconds": 6, "reaper_seconds": 0.5, "ring_again_seconds": 1, "max_lost_workers": 30,
    "webhooks_seconds": 0.3, "webhooks_retry_seconds": 0.5, "webhooks_allow_http": "true",
    "webhooks_allow_private": "true", "min_free_bytes": 2**20, "rate_default": "", "rate_submit": "",
    "rate_download": "", "rate_stranger": "", "quota_queued_jobs": 0, "token": TOKEN,
}  # fmt: skip
COMMANDS = {
    "api": ("api",),
    "reaper": ("api.reaper",),
    "train": ("tests.faults.worker", "--queue", "train"),
    "inspect": ("tests.faults.worker", "--queue", "inspect"),
}


@dataclass
class Member:
    """A process of the service, in all its lives."""

    name: str  # such as train-0
    environment: dict[str, str]
    command: tuple[str, ...]
    space: network.Namespace | None = None
    proxies: dict[str, Proxy] = field(default_factory=dict)  # database, broker
    port: int = 0  # of an API
    lives: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # exit statuses
    busy: threading.Lock = field(default_factory=threading.Lock)  # while a fault has it

    @property
    def process(self) -> psutil.Process:
        """Its present life.

        Raises:
            psutil.NoSuchProcess: it is between two.
        """
        return psutil.Process(self.lives[-1].pid)

    @property
    def workers(self) -> set[str]:
        """The names under which it has claimed, as a worker."""
        return {f"{socket.gethostname()}:{life.pid}" for life in self.lives}


class Stand:
    """Everything that runs, in one folder."""

    def __init__(self, folder: Path, backend: Backend, workers: int = 3, apis: int = 2, reapers: int = 2) -> None:
        self.folder, self.backend = folder, backend
        self.data = folder / "var"
        self.data.mkdir()
        self.database = Database(backend.database_url)
        self.loop = Loop()
        names = [f"api-{n}" for n in range(apis)] + [f"reaper-{n}" for n in range(reapers)]
        names += [f"train-{n}" for n in range(workers)] + ["inspect-0"]
        spaces = isinstance(backend, Servers) and network.possible()
        # On servers each member is a machine with a clock of its own; otherwise all are on one machine.
        self.clocks = {name: Clock(folder / f"{name}.clock") for name in names if isinstance(backend, Servers)}
        self.clocks = self.clocks or dict.fromkeys(names, Clock(folder / "machine.clock"))
        self.members = {name: self._member(name, spaces) for name in names}
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def storage(self) -> Storage:
        """Open the files of the service, past every fault."""
        bucket = {}
        if isinstance(self.backend, Bucket):
            bucket = self.backend.storage_through(*self.backend.objects)
        return open_storage(Settings(data_dir=self.data, database_url=self.backend.database_url, **bucket))

    def of(self, kind: str) -> list[Member]:
        return [member for member in self.members.values() if member.name.startswith(f"{kind}-")]

    def trainers(self) -> list[psutil.Process]:
        """Return the simulated trainers that run, whoever their parent is."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if any(part.endswith("tests/faults/trainer.py") for part in command) and any(
                str(self.data) in part for part in command
            ):
                found.append(process)
        return found

    @contextmanager
    def running(self) -> Iterator["Stand"]:
        migrate = [sys.executable, "-m", "api", "migrate"]
        environment = self._environment() | self._urls({}, "127.0.0.1")
        try:
            subprocess.run(migrate, cwd=ROOT, env=environment, check=True, capture_output=True)
            for member in self.members.values():
                self._start(member)
            self._keeper.start()
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """End everything in order; what does not end is killed."""
        self._stopping.set()
        if self._keeper.is_alive():
            self._keeper.join(10)
        lives = [member.lives[-1] for member in self.members.values() if member.lives]
        for life in lives:
            with suppress(ProcessLookupError):
                life.send_signal(signal.SIGCONT)
                life.terminate()
        for life in lives:
            try:
                life.wait(20)
            except subprocess.TimeoutExpired:
                life.kill()
                life.wait()
        for member in self.members.values():
            if member.space is not None:
                member.space.close()
        self.loop.stop()
        self.database.engine.dispose()

    def logs(self, name: str, most: int = 20_000) -> str:
        """Return the end of a member's log, but for what is only information."""
        path = self.folder / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(line for line in lines if "[info" not in line)[-most:]

    def _member(self, name: str, spaces: bool) -> Member:
        kind = name.partition("-")[0]
        space = network.Namespace(int(name[-1])) if spaces and kind == "train" else None
        host = space.host if space is not None else "127.0.0.1"
        targets = {"database": self.backend.database, "broker": self.backend.broker}
        if isinstance(self.backend, Bucket):
            targets["objects"] = self.backend.objects
        proxies = {what: Proxy(self.loop, target, host) for what, target in targets.items() if target is not None}
        member = Member(name, {}, (*(space.command if space else ()), sys.executable, "-m", *COMMANDS[kind]), space)
        member.proxies = proxies
        if kind == "api":
            with socket.create_server(("127.0.0.1", 0)) as server:
                member.port = server.getsockname()[1]
        member.environment = self._environment() | self._urls(proxies, host) | {"RDRKD_PORT": str(member.port)}
        member.environment |= self.clocks[name].environment
        return member

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        settings = {f"RDRKD_{name.upper()}": str(value) for name, value in SETTINGS.items()}
        return inherited | settings | {"RDRKD_DATA_DIR": str(self.data), "OMP_NUM_THREADS": "1"}

    def _urls(self, proxies: dict[str, Proxy], host: str) -> dict[str, str]:
        if not proxies:
            broker = self.backend.broker_url if self.backend.name == "embedded" else "redis://127.0.0.1:1/0"
            return {"RDRKD_DATABASE_URL": self.backend.database_url, "RDRKD_BROKER_URL": broker}
        database = self.backend.database_through(host, proxies["database"].port)
        urls = {
            "RDRKD_DATABASE_URL": database,
            "RDRKD_BROKER_URL": self.backend.broker_through(host, proxies["broker"].port),
        }
        if isinstance(self.backend, Bucket):
            bucket = self.backend.storage_through(host, proxies["objects"].port)
            urls |= {f"RDRKD_{name.upper()}": str(value) for name, value in bucket.items()}
        return urls

    def _start(self, member: Member) -> None:
        with (self.folder / f"{member.name}.log").open("ab") as log:
            life = subprocess.Popen(
                member.command, cwd=ROOT, env=member.environment, stdout=log, stderr=log, start_new_session=True
            )
        member.lives.append(life)

    def _keep(self) -> None:
        """Start again what has ended, as a container's restart policy does."""
        while not self._stopping.wait(0.2):
            for member in self.members.values():
                if (status := member.lives[-1].poll()) is not None and not self._stopping.is_set():
                    member.ends.append(status)
                    time.sleep(0.1)
                    self._start(member)
