"""Log lines as JSON: from this process, through the service's formatter, and from other processes of the service."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api import log_setup
from api.settings import LogFormat

Lines = Callable[[], list[dict[str, Any]]]


@contextmanager
def kept(**always: str) -> Iterator[Lines]:
    """Capture the log within the block; yield a function that returns its lines."""
    with text("json", **always) as written:
        yield lambda: [json.loads(line) for line in written().splitlines()]


@contextmanager
def text(form: LogFormat, **always: str) -> Iterator[Callable[[], str]]:
    """Capture the log within the block as text; yield a function that returns it."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(log_setup.formatter(form, **always))
    handler.addFilter(lambda record: record.name != "httpx2")  # the test's own client
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield stream.getvalue
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class Logged:
    """The log of a process of the service."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self._process, self._path = process, path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait(self, words: str, seconds: float = 60) -> str:
        """Wait for a line with these words; return its message."""
        end = time.monotonic() + seconds
        while not (found := [line["event"] for line in self.lines() if words in line["event"]]):
            assert self._process.poll() is None, self._path.read_text()
            assert time.monotonic() < end, self._path.read_text()
            time.sleep(0.1)
        return found[0]


@contextmanager
def process(data_dir: Path, *module: str, **environment: str) -> Iterator[Logged]:
    """Run a process of the service on this data folder for the duration of the block."""
    ours = {"RDRKD_DATA_DIR": str(data_dir), "RDRKD_LOG_FORMAT": "json", "RDRKD_PORT": "0"} | environment
    path = data_dir.with_name(f"{'-'.join(module)}.log")
    with path.open("wb") as log:
        running = subprocess.Popen([sys.executable, "-m", *module], env=os.environ | ours, stderr=log)
    try:
        yield Logged(running, path)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)
