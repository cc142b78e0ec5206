"""`rdrkd doctor` on a live service: what it sees of workers, queue, broker and storage, and what it advises."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import update

import rdrkd
from api.db import after_seconds
from api.jobs.workers import service as workers
from api.tables.jobs import Job
from api.tables.workers import Worker
from api.webhooks.vault import FILE
from tests.rdrkd.cli.test_service import Command, command
from tests.rdrkd.client.conftest import Live, begin, live, migrated

__all__ = ["command", "live", "migrated"]

Found = dict[str, dict[str, str]]


@pytest.fixture
def look(command: Command) -> Callable[[int], Found]:
    def look(status: int) -> Found:
        result = command("doctor", "--json")
        assert result.exit_code == status, result.output
        return {row["what"]: row for row in map(json.loads, result.stdout.splitlines())}

    return look


def come(
    live: Live,
    queue: str,
    version: str = rdrkd.__version__,
    name: str = "w:1",
    devices: int = 0,
    complaint: str | None = None,
) -> None:
    gpus = [{"name": "H100", "memory": 2**36}] * devices
    with live.database.transaction() as session:
        workers.beat(session, workers.Presence(f"{queue}-{name}", queue, version, 2, gpus, complaint), 60)


def test_without_workers_nothing_can_be_done(look: Callable[[int], Found]) -> None:
    found = look(3)

    assert found["workers for jobs"] == {
        "what": "workers for jobs",
        "state": "fault",
        "detail": "none",
        "advice": "start one: python -m worker --queue train",
    }
    assert {what: row["state"] for what, row in found.items()} == {
        "version": "ok", "database": "ok", "broker": "ok", "storage": "ok",
        "workers for jobs": "fault", "workers for checks of uploads": "fault", "queue": "ok",
        "disk": "ok", "stored": "ok", "cache of datasets": "ok", "cache of objects": "ok",
    }  # fmt: skip


def test_a_service_that_lacks_nothing(live: Live, look: Callable[[int], Found]) -> None:
    come(live, "train", devices=1)
    come(live, "inspect")

    found = look(0)

    assert {row["state"] for row in found.values()} == {"ok"}
    assert found["GPUs"]["detail"] == "H100"


def test_a_worker_that_takes_nothing_says_why(live: Live, look: Callable[[int], Found]) -> None:
    come(live, "train", complaint="expected room, got none")
    come(live, "inspect", complaint="expected room, got none")
    come(live, "inspect", name="other:2")

    found = look(3)

    of_jobs, of_checks = found["workers for jobs"], found["workers for checks of uploads"]
    assert (of_jobs["state"], of_jobs["detail"]) == ("fault", "train-w:1: expected room, got none")
    assert (of_checks["state"], of_checks["detail"]) == ("warning", "inspect-w:1: expected room, got none")


def test_what_works_badly_is_a_warning(live: Live, look: Callable[[int], Found]) -> None:
    come(live, "train", version="0.0.1")
    come(live, "inspect")
    come(live, "inspect", name="lost:2")
    with live.database.transaction() as session:
        session.execute(update(Worker).where(Worker.name == "inspect-lost:2").values(alive_until=after_seconds(-60)))
    job_id = live.job()
    with live.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(queued_at=after_seconds(-3600)))

    found = look(0)

    assert found["workers for jobs"]["detail"] == "of the versions 0.0.1"
    assert found["workers for checks of uploads"]["detail"] == "1; without a beat: inspect-lost:2"
    assert "no worker has one" in found["GPUs"]["detail"]
    assert "1 queued; the oldest has waited 36" in found["queue"]["detail"]
    assert "api.reaper" in found["queue"]["advice"]


@pytest.mark.parametrize("how", ["lost", "changed"])
def test_an_encryption_key_that_is_lost_or_changed(
    tmp_path: Path, migrated: Path, look: Callable[[int], Found], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    data_dir = tmp_path / "keys"
    data_dir.mkdir()
    shutil.copy(migrated, data_dir / "rdrkd.db")
    settings = {"webhooks_allow_private": True, "webhooks_allow_http": True}

    def found(status: int) -> dict[str, str]:
        with begin(data_dir, **settings) as live:
            monkeypatch.setenv("RDRKD_URL", live.url)
            come(live, "train", devices=1)
            come(live, "inspect")
            return look(status)["webhooks"]

    with begin(data_dir, **settings) as live:
        hook = {"url": "http://127.0.0.1:9/x", "events": ["job.failed"]}
        made = live.client.post("/v1/webhooks", json=hook).raise_for_status().json()
    assert made["can_sign"]
    assert found(0)["state"] == "ok"

    key = data_dir / FILE
    kept = key.read_bytes()
    key.unlink() if how == "lost" else key.write_bytes(Fernet.generate_key())
    lost = found(3)
    assert (lost["state"], made["id"] in lost["detail"]) == ("fault", True)
    assert "encryption.key in RDRKD_DATA_DIR" in lost["advice"]
    assert "rotate" in lost["advice"]
    assert key.exists() == (how == "changed")  # nobody has put another key into the place of the lost one

    key.write_bytes(kept)
    assert found(0)["state"] == "ok"


def test_a_service_that_is_not_there(command: Command) -> None:
    assert command("doctor", "--url", "http://127.0.0.1:9").exit_code == 4
