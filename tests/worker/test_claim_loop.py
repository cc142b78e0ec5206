"""The claim loop and its watchdog: a stuck worker logs it and exits; one without disk space claims nothing."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from api.jobs.workers import service
from api.tables.states import Status
from api.wake_ups import TRAIN
from tests.servers import Backend
from tests.worker.conftest import ROOT, Rows, settings_for, until
from tests.worker.processes import workers_of
from worker.claim_loop import ClaimLoop, Work
from worker.watchdog import WEDGED
from worker.workplace import Workplace

STUCK = """
import sys, time, worker.work
worker.work.CLAIMS["train"] = lambda place: time.sleep(3600)  # a call that never returns
from worker.__main__ import main
sys.exit(main())
"""


def complaints(place: Workplace) -> list[str | None]:
    with place.database.transaction() as session:
        return [present.row.complaint for present in service.present(session)]


@pytest.mark.slow
def test_a_wedged_worker_says_so_and_ends(place: Workplace, tmp_path: Path) -> None:
    settings = place.settings
    own = {"RDRKD_DATA_DIR": str(settings.data_dir), "RDRKD_DATABASE_URL": settings.database_url}
    own |= {"RDRKD_BROKER_URL": settings.broker_url, "RDRKD_WEDGED_SECONDS": "2", "RDRKD_CANCEL_POLL_SECONDS": "0.2"}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", STUCK, "--queue", "train"]
        worker = subprocess.Popen(command, cwd=ROOT, env=os.environ | own, stdout=log, stderr=log)
    try:
        told = until(lambda: [one for one in complaints(place) if one], 60)
        assert worker.wait(30) == WEDGED
    finally:
        worker.kill()
        worker.wait()
    assert told[0].startswith("expected an answer to the query for work within 2 s, got none for ")
    assert f"this worker is stuck and exits: {told[0]}" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_work_that_does_not_stop_when_it_must_is_a_wedge(place: Workplace, rows: Rows) -> None:
    from worker.lease import Lease, Order

    place = Workplace(
        place.settings.model_copy(update={"wedged_seconds": 0.2}), *(place.database, place.storage, place.doorbell), "w"
    )
    loop = ClaimLoop(place, lambda _: None)
    with Lease(place, lambda *_: None, 60) as lease:
        assert loop.stuck() is None
        lease.order = Order.FENCED
        assert loop.stuck() is None  # it may take its time: a grace, a lease and an outage
        until(loop.stuck, 20)
        assert "on the order `fenced`" in str(loop.stuck())
    assert loop.stuck() is None


def test_a_look_that_fails_is_made_again(place: Workplace) -> None:
    looks = list[float]()

    def claim(place: Workplace) -> Work | None:
        looks.append(time.monotonic())
        raise RuntimeError("something nobody thought of")

    place = Workplace(
        place.settings.model_copy(update={"look_seconds": 0.1}), *(place.database, place.storage, place.doorbell), "w"
    )
    with ClaimLoop(place, claim):
        until(lambda: len(looks) > 3)


def test_a_ring_is_heard_at_once(place: Workplace) -> None:
    place = Workplace(
        place.settings.model_copy(update={"look_seconds": 600}), *(place.database, place.storage, place.doorbell), "w"
    )
    looked = threading.Semaphore(0)
    with ClaimLoop(place, lambda _: looked.release()):
        assert looked.acquire(timeout=10)
        place.wakeups.receive("job_1")
        assert looked.acquire(timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_a_worker_without_room_takes_nothing_until_there_is_some(backend: Backend, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    from api.db import Base

    place = Workplace.open(settings_for(backend, tmp_path / "var"))
    Base.metadata.create_all(place.database.engine)
    rows = Rows(place)
    place.runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place.runs], check=True)
    try:
        filler = place.runs / "filler"
        filler.write_bytes(bytes(15 << 20))
        with workers_of(rows, tmp_path) as workers:
            worker = workers.start(RDRKD_MIN_FREE_BYTES=str(4 << 20))
            job_id = rows.job(epochs=1)
            rows.place.doorbell.send(TRAIN, job_id)
            told = until(lambda: [one for one in complaints(place) if one], 60)
            assert told[0].startswith(f"expected {4 << 20} bytes to be free on the disk of the run folders, got ")
            assert rows.get(job_id).status == Status.QUEUED
            assert "claiming no work until there is enough disk space" in workers.said()
            filler.unlink()
            until(lambda: rows.get(job_id).status == Status.SUCCEEDED, 60)
            until(lambda: complaints(place) == [None], 20)
            assert rows.get(job_id).attempt == 1
            assert worker.poll() is None
    finally:
        subprocess.run(["umount", "--lazy", place.runs], check=True)
        place.database.engine.dispose()
