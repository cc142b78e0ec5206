"""That a worker says that it is there, and what it has."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.jobs.workers import service
from api.jobs.workers.service import Present
from api.wake_ups import TRAIN
from rdrkd import __version__
from tests.servers import Postgres
from tests.worker.conftest import until
from worker.devices import cpus, devices
from worker.presence import Beating
from worker.workplace import Workplace

TELLS = """#!/bin/sh
case "$*" in
    *--id=1*) echo 'NVIDIA A100, 40960' ;;
    *--id=*) echo 'No devices were found' >&2; exit 6 ;;
    *) printf 'NVIDIA A100, 40960\\nNVIDIA A100, 40960\\n' ;;
esac
"""
A100 = {"name": "NVIDIA A100", "memory": 40 * 2**30}


def present(place: Workplace) -> list[Present]:
    with place.database.transaction() as session:
        return service.present(session)


def test_a_worker_is_there_from_its_start_to_its_end(place: Workplace) -> None:
    with Beating(place, TRAIN):
        [first] = until(lambda: present(place))
        assert first.alive
        assert (first.row.name, first.row.queue, first.row.version) == (place.name, TRAIN, __version__)
        assert first.row.cpus == cpus() >= 1
        [later] = until(lambda: [one for one in present(place) if one.row.beat_at > first.row.beat_at])
        assert (later.alive, later.row.since) == (True, first.row.since)  # it beats while it has nothing to do
    assert present(place) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["servers"], indirect=True)
def test_a_lost_database_stops_no_worker(place: Workplace, postgres: Postgres) -> None:
    url = place.settings.database_url.replace("+psycopg", "")
    with Beating(place, TRAIN):
        [first] = until(lambda: present(place))
        postgres.refuse(url, True)
        time.sleep(0.6)
        postgres.refuse(url, False)
        until(lambda: [one for one in present(place) if one.row.beat_at > first.row.beat_at])
        postgres.refuse(url, True)
    postgres.refuse(url, False)
    assert [one.row.name for one in present(place)] == [place.name]  # nobody could say that it is gone
    until(lambda: [one for one in present(place) if not one.alive])


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose driver's tool tells of two GPUs."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(TELLS)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


@pytest.mark.parametrize(("visible", "count"), [(None, 2), ("1", 1), ("7", 0), ("", 0), ("-1", 0)])
def test_the_devices_are_those_that_trainers_see(
    driver: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices() == [A100] * count


@pytest.mark.parametrize("says", ["echo gibberish", "exit 9", "kill -9 $$"])
def test_a_tool_that_fails_is_no_device(driver: Path, says: str) -> None:
    driver.write_text(f"#!/bin/sh\n{says}\n")
    assert devices() == []


def test_no_torch_is_loaded_for_that() -> None:
    program = "import sys, worker.presence; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
