"""Workers as real processes whose trainer is the tiny program `trainer.py`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.worker.conftest import ROOT, TRAINER, Rows

# The program that stands in for `python -m rdrkd`; all else is the worker as it is.
START = f"""
import sys, worker.process
worker.process.RDRKD = {TRAINER!r}
from worker.__main__ import main
sys.exit(main())
"""


class Workers:
    """Worker processes of one workplace, and their common log."""

    def __init__(self, rows: Rows, folder: Path) -> None:
        settings = rows.place.settings
        names = ("data_dir", "database_url", "broker_url", "lease_seconds", "heartbeat_seconds", "stop_grace_seconds")
        own = {f"RDRKD_{name.upper()}": str(getattr(settings, name)) for name in (*names, "cancel_poll_seconds")}
        self.environment = os.environ | own | {"RDRKD_LEASE_SECONDS": "20", "RDRKD_LOG_FORMAT": "text"}
        self.log = folder / "workers.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, queue: str = "train", **environment: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", START, "--queue", queue]
            env = self.environment | environment
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def workers_of(rows: Rows, folder: Path) -> Iterator[Workers]:
    """Yield workers, and end them all."""
    workers = Workers(rows, folder)
    try:
        yield workers
    finally:
        for process in workers.processes:
            process.terminate()
        for process in workers.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
