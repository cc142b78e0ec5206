"""Who has had a job, how each attempt ended, and the checkpoints that they have left."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.db import after_seconds
from api.jobs import claims, expiry, lifecycle
from api.jobs.checkpoint_retention import Retention
from api.jobs.lifecycle import Ending
from api.tables.jobs import Job
from api.tables.states import TERMINAL, Status
from rdrkd.reasons import Reason
from tests.api.conftest import Service


def attempts(service: Service, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.client.get(f"/v1/jobs/{job_id}/attempts").raise_for_status().json()["data"]
    return found


def checkpoints(service: Service, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.client.get(f"/v1/jobs/{job_id}/checkpoints").raise_for_status().json()["data"]
    return found


def ends(service: Service, job_id: str) -> list[tuple[Any, ...]]:
    return [(row["attempt"], row["worker"], row["outcome"], row["reason"]) for row in attempts(service, job_id)]


def lose(service: Service, most: int = 5) -> None:
    with service.database.transaction() as session:
        session.execute(update(Job).values(lease_until=after_seconds(-1)))
        expiry.expire(session, most)


def test_every_attempt_has_a_row(each_service: Service) -> None:
    job_id = each_service.job()
    assert attempts(each_service, job_id) == []
    each_service.bring(job_id, Status.RUNNING)
    [row] = attempts(each_service, job_id)
    assert (row["attempt"], row["worker"], row["outcome"], row["ended_at"]) == (1, "worker-1", None, None)
    lose(each_service)
    for why in ("drain", "outage"):
        with each_service.database.transaction() as session:
            lifecycle.requeue(session, claims.claim(session, f"to {why}", 60), why)
    held = each_service.claim()
    each_service.finish(held, Ending(Status.FAILED, Reason.NAN_LOSS, "the loss left the finite numbers"))

    assert ends(each_service, job_id) == [
        (1, "worker-1", "lost", "worker_lost"),
        (2, "to drain", "given_back", "drain"),
        (3, "to outage", "given_back", "outage"),
        (4, "worker-1", "failed", "nan_loss"),
    ]
    rows = attempts(each_service, job_id)
    assert rows[3]["message"] == "the loss left the finite numbers"
    assert all(row["started_at"] <= row["ended_at"] for row in rows)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_attempt_ends_as_its_job_does(each_service: Service, status: Status) -> None:
    job_id = each_service.job(status)

    assert [outcome for _, _, outcome, _ in ends(each_service, job_id)] == [status]


def test_a_worker_that_gives_back_a_job_that_is_being_cancelled_ends_it(service: Service) -> None:
    held = service.bring(service.job(), Status.CANCELLING)
    service.requeue(held)

    assert ends(service, held.id) == [(1, "worker-1", "cancelled", "user_cancelled")]


@pytest.mark.parametrize("status", [Status.RUNNING, Status.CANCELLING])
def test_a_lost_worker_is_lost_whatever_becomes_of_its_job(each_service: Service, status: Status) -> None:
    job_id = each_service.job(status)
    lose(each_service, most=0)

    assert ends(each_service, job_id) == [(1, "worker-1", "lost", "worker_lost")]


def test_checkpoints_with_their_figures_and_files(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    assert checkpoints(each_service, job_id) == []
    each_service.checkpoint(held, 1, tmp_path, is_best=True)
    each_service.checkpoint(held, 2, tmp_path, is_best=False)
    sha256 = each_service.publish(held, 2, b"<html>", tmp_path, "report.html")
    each_service.publish(held, 9, b"{}", tmp_path, "result.json")  # of no checkpoint

    newest, oldest = checkpoints(each_service, job_id)

    assert (newest["epoch"], newest["attempt"], newest["is_best"], newest["is_last"]) == (2, 1, False, True)
    assert (oldest["epoch"], oldest["attempt"], oldest["is_best"], oldest["is_last"]) == (1, 1, True, False)
    assert (newest["metrics"], oldest["metrics"]) == ({"mAP50": 20.0}, {"mAP50": 10.0})
    assert [file["name"] for file in newest["files"]] == ["report.html", "student.pt"]
    assert newest["files"][0] == {"name": "report.html", "size": 6, "sha256": sha256}


def test_only_the_newest_best_is_the_best(service: Service, tmp_path: Path) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    for epoch in (1, 2, 3):
        service.checkpoint(held, epoch, tmp_path, is_best=epoch < 3)

    assert [(row["epoch"], row["is_best"]) for row in checkpoints(service, held.id)] == [
        (3, False), (2, True), (1, False)
    ]  # fmt: skip


def test_a_checkpoint_goes_with_its_files(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    first = each_service.bring(job_id, Status.RUNNING)
    each_service.checkpoint(first, 1, tmp_path)
    each_service.checkpoint(first, 2, tmp_path)
    each_service.requeue(first)
    second = each_service.claim()
    each_service.checkpoint(second, 2, tmp_path)  # trained again
    each_service.checkpoint(second, 2, tmp_path)  # a write that is repeated
    with each_service.database.transaction() as session:
        lifecycle.prune(session, second, Retention(last=2))

    assert [(row["attempt"], row["epoch"]) for row in checkpoints(each_service, job_id)] == [(2, 2), (1, 2)]
    with each_service.database.transaction() as session:
        assert lifecycle.prune(session, second, Retention(last=2)) == []
