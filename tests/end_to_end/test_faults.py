"""What goes wrong in the long run of a service: killed, frozen, restarted, cut off. The real trainer, both backends."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.wake_ups import TRAIN, Doorbell
from tests.end_to_end.conftest import SERVERS, Service, is_alive, quick, until

pytestmark = pytest.mark.slow


@pytest.fixture
def dataset(service: Service, scenes: Path) -> str:
    service.start("reaper")
    inspector = service.start("inspect")
    dataset = service.upload("datasets", scenes)
    assert service.checked("datasets", dataset)["status"] == "ready"
    inspector.terminate()  # one process less on a small machine
    return dataset


def submit(service: Service, dataset: str, epochs: int = 8, **more: object) -> str:
    model = {"architecture": "yolov8n-half"}
    return service.submit(kind="train", dataset=dataset, model=model, train=quick(epochs), **more)


def epochs(service: Service, job_id: str) -> list[tuple[int, int]]:
    """Return the recorded epochs, each with the attempt that trained it."""
    return [(e["epoch"], e["attempt"]) for e in service.client.get(f"/v1/jobs/{job_id}/metrics").json()["data"]]


def test_killed_worker(service: Service, dataset: str) -> None:
    first = service.start("train")
    job_id = submit(service, dataset)
    reached = until(lambda: service.checkpoint_of(job_id, attempt=1))
    trainers = service.trainers(first)
    assert trainers
    first.kill()
    until(lambda: not any(map(is_alive, trainers)), 5)  # no orphan
    service.start("train")
    job = service.wait(job_id)
    assert (job["status"], job["attempt"], job["lost_workers"]) == ("succeeded", 2, 1), service.logs()
    recorded = epochs(service, job_id)
    assert [epoch for epoch, _ in recorded] == list(range(1, 9))
    assert recorded[0] == (1, 1)
    assert all(attempt == 1 for epoch, attempt in recorded if epoch <= reached)  # resumed, not begun again
    assert recorded[-1] == (8, 2)
    assert service.client.get(f"/v1/jobs/{job_id}/weights").status_code == 200


@SERVERS
def test_killed_worker_in_the_baseline(service: Service, dataset: str) -> None:
    first = service.start("train")
    teacher = submit(service, dataset, epochs=1)
    student = {"architecture": "yolov8n-half"}
    job_id = service.submit(
        kind="distill", dataset=dataset, teacher={"job": teacher}, student=student, train=quick(4), baseline=True
    )
    reached = until(lambda: (epoch := service.checkpoint_of(job_id, attempt=1) or 0) > 4 and epoch, 240)
    assert service.job(job_id)["phase"] in ("training", "training_alone")
    first.kill()
    service.start("train")
    job = service.wait(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), service.logs()
    rows = service.client.get(f"/v1/jobs/{job_id}/metrics").json()["data"]
    assert [(row["part"], row["epoch"]) for row in rows] == [
        *(("student", epoch) for epoch in range(1, 5)), *(("alone", epoch) for epoch in range(5, 9)),
    ]  # fmt: skip
    assert all(row["attempt"] == 1 for row in rows if row["epoch"] <= reached), "nothing was trained twice"
    comparison = job["result"]["comparison"]
    assert comparison["alone"]["epochs"] == comparison["student"]["epochs"] == 4
    assert comparison["teacher"]["name"] == teacher, "it has no name"
    for name in ("student.pt", "alone.pt"):
        assert service.client.get(f"/v1/jobs/{job_id}/artifacts/{name}").status_code == 200
    assert "state.pt" not in {artifact.name for artifact in service.artifacts(job_id)}


def test_duplicate_messages(service: Service, dataset: str) -> None:
    job_id = submit(service, dataset, epochs=2)
    service.ring(job_id, times=6)
    workers = [service.start("train"), service.start("train")]
    job = service.wait(job_id)
    until(lambda: Doorbell(service.backend.broker_url).pending(TRAIN) == 0)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert {artifact.attempt for artifact in service.artifacts(job_id)} == {1}
    claims = (service.folder / "train.log").read_text().count(f"claimed {job_id}")
    assert claims == 1
    assert all(worker.poll() is None for worker in workers)


def test_frozen_worker_that_wakes_is_refused(service: Service, dataset: str) -> None:
    frozen = service.start("train")
    job_id = submit(service, dataset)
    until(lambda: service.checkpoint_of(job_id, attempt=1))
    frozen.send_signal(signal.SIGSTOP)
    before = [(a.epoch, a.name, a.sha256) for a in service.artifacts(job_id) if a.attempt == 1]
    service.start("train")
    until(lambda: service.checkpoint_of(job_id, attempt=2))
    frozen.send_signal(signal.SIGCONT)
    until(lambda: f"{job_id} attempt 1 is fenced" in (service.folder / "train.log").read_text(), 20)
    until(lambda: not service.trainers(frozen), 10)
    job = service.wait(job_id)
    assert (job["status"], job["attempt"], job["lost_workers"]) == ("succeeded", 2, 1)
    after = [(a.epoch, a.name, a.sha256) for a in service.artifacts(job_id) if a.attempt == 1]
    assert set(after) <= set(before)  # pruned, perhaps; nothing new
    assert epochs(service, job_id)[-1] == (8, 2)
    stored = (service.folder / "var" / "storage" / "jobs" / job_id / "attempt-1").rglob("*.pt")
    assert {path.name for path in stored} <= {"state.pt", "student.pt"}


def test_cancel_queued_and_running(service: Service, dataset: str) -> None:
    queued = submit(service, dataset)
    answer = service.client.post(f"/v1/jobs/{queued}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    worker = service.start("train")
    running = submit(service, dataset, epochs=200)
    until(lambda: service.checkpoint_of(running, attempt=1))
    assert service.client.post(f"/v1/jobs/{running}/cancel").status_code == 202
    assert service.job(running)["status"] in ("cancelling", "cancelled")
    job = service.wait(running, seconds=30)
    assert (job["status"], job["reason"]) == ("cancelled", "user_cancelled")
    assert service.client.get(f"/v1/jobs/{running}/weights").status_code == 200  # what it had
    until(lambda: not service.trainers(worker), 10)
    assert service.job(queued)["attempt"] == 0


def test_restart_of_everything(service: Service, dataset: str) -> None:
    service.start("train")
    job_id = submit(service, dataset, epochs=12)
    until(lambda: service.checkpoint_of(job_id, attempt=1))
    for process in service.processes:
        if process.poll() is None:
            process.terminate()
    for process in service.processes:
        process.wait(30)
    service.start_api()
    job = service.job(job_id)
    assert (job["status"], job["lost_workers"]) == ("queued", 0)
    for name in ("reaper", "train"):
        service.start(name)
    job = service.wait(job_id)
    assert (job["status"], job["attempt"], job["lost_workers"]) == ("succeeded", 2, 0), service.logs()
    recorded = epochs(service, job_id)
    assert [epoch for epoch, _ in recorded] == list(range(1, 13))
    assert recorded[0] == (1, 1)


@SERVERS
def test_broker_down_while_submitting(service: Service, dataset: str) -> None:
    broker = service.backend.broker_server
    assert broker is not None
    worker = service.start("train")
    until(lambda: "ready" in (service.folder / "train.log").read_text())
    broker.stop()
    try:
        job_id = submit(service, dataset, epochs=1)  # accepted all the same
        assert service.job(job_id)["status"] == "queued"
        assert service.client.get("/readyz").json()["status"] == "degraded"
    finally:
        broker.start()
    assert service.wait(job_id)["status"] == "succeeded", service.logs()
    assert worker.poll() is None


@pytest.fixture
def small_disk(service: Service) -> Iterator[Path]:
    """A file system of its own for the run folders."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    service.environment["RDRKD_MIN_FREE_BYTES"] = str(100 << 20)  # of whoever is started from here on
    runs = service.folder / "var" / "runs"
    runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", runs], check=True)
    yield runs
    subprocess.run(["umount", "--lazy", runs], check=True)


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_full_disk(service: Service, small_disk: Path, dataset: str) -> None:
    service.start("train")
    job_id = submit(service, dataset, epochs=200)
    until(lambda: service.checkpoint_of(job_id, attempt=1))
    with (small_disk / "filler").open("wb") as filler:
        try:
            while filler.write(bytes(2**16)):
                pass
        except OSError:
            pass
    job = service.wait(job_id, "queued")  # the disk is the worker's: the job goes back, and waits for room
    assert job["lost_workers"] == 0
    [worker] = until(lambda: [w for w in service.client.get("/v1/workers").json()["data"] if w["complaint"]])
    assert "to be free on the disk of the run folders" in worker["complaint"]
    (small_disk / "filler").unlink()
    until(lambda: service.checkpoint_of(job_id, attempt=2))
    service.client.post(f"/v1/jobs/{job_id}/cancel")
    service.wait(job_id, "cancelled")
    weights = service.client.get(f"/v1/jobs/{job_id}/weights")
    assert weights.status_code == 200
    states = [artifact for artifact in service.artifacts(job_id) if artifact.name == "state.pt"]
    assert states
