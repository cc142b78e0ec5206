"""A run that is killed without a word leaves no process, mount, network link or namespace behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults import sandbox

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that a server can enter which root starts as another user, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="rdrkd-sandbox-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_behind(folder: Path) -> None:
    if sandbox.possible() is None:
        pytest.skip("no namespaces here")
    before = _links()
    command = [sys.executable, "-m", "tests.faults", "--backend", "servers", "--jobs", "1000"]
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(folder)}, stdout=log, stderr=log)
    try:
        _until(lambda: any("api.reaper" in word for one in _of(folder) for word in one.cmdline()), 120)
        assert len(_of(folder)) > 8
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    _until(lambda: not _of(folder), 60)
    assert str(folder) not in Path("/proc/mounts").read_text()
    _until(lambda: _links() == before, 30)


def _of(folder: Path) -> list[psutil.Process]:
    """Return the processes that belong to a run: all of them have its folder in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in "".join(process.environ().values()) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def _links() -> set[str]:
    names = {name for name in psutil.net_if_addrs() if name.startswith("rd")}
    folder = Path("/run/netns")
    return names | ({path.name for path in folder.iterdir()} if folder.is_dir() else set())


def _until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.2)
