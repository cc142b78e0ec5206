"""Pausing and resuming: what each state answers, what it becomes, and who may take a job meanwhile."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.db import after_seconds
from api.jobs import claims, expiry, lifecycle
from api.jobs.control import transitions
from api.jobs.lifecycle import Ending
from api.tables.jobs import Job
from api.tables.leases import Fenced, Wish
from api.tables.states import Status
from tests.api.conftest import NOBODY, Service

MATRIX = [
    (Status.QUEUED, 200, Status.PAUSED),
    (Status.STARTING, 202, Status.PAUSING),
    (Status.RUNNING, 202, Status.PAUSING),
    (Status.PAUSING, 202, Status.PAUSING),
    (Status.PAUSED, 200, Status.PAUSED),
    (Status.CANCELLING, 409, Status.CANCELLING),
    (Status.CANCELLED, 409, Status.CANCELLED),
    (Status.SUCCEEDED, 409, Status.SUCCEEDED),
    (Status.FAILED, 409, Status.FAILED),
]


def job(service: Service, job_id: str) -> dict[str, Any]:
    return dict(service.client.get(f"/v1/jobs/{job_id}").raise_for_status().json())


def pause(service: Service, job_id: str, how: str = "save") -> dict[str, Any]:
    answer = service.client.post(f"/v1/jobs/{job_id}/pause", json={"checkpoint": how})
    return dict(answer.raise_for_status().json())


def resume(service: Service, job_id: str) -> dict[str, Any]:
    answer = service.client.post(f"/v1/jobs/{job_id}/resume")
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def wish(service: Service, held: claims.Held, lease_seconds: float | None = None) -> Wish | None:
    with service.database.transaction() as session:
        return lifecycle.renew(session, held, lease_seconds)


def lose(service: Service, max_lost_workers: int = 5) -> list[str]:
    with service.database.transaction() as session:
        session.execute(update(Job).where(Job.lease_until.is_not(None)).values(lease_until=after_seconds(-1)))
    with service.database.transaction() as session:
        return expiry.expire(session, max_lost_workers)


@pytest.mark.parametrize(("status", "answer", "becomes"), MATRIX)
def test_pause_by_state(each_service: Service, status: Status, answer: int, becomes: Status) -> None:
    job_id = each_service.job(status)
    before = job(each_service, job_id)

    response = each_service.client.post(f"/v1/jobs/{job_id}/pause")

    after = job(each_service, job_id)
    assert (response.status_code, after["status"]) == (answer, becomes)
    if answer == 409:
        assert response.json()["code"] == "not_pausable"
        assert status in response.json()["detail"]
    else:
        assert response.json() == after
        assert ("Retry-After" in response.headers) == (answer == 202)
    if status == becomes:
        assert after == before  # asking again changes nothing


def test_every_state_is_in_the_matrix() -> None:
    assert {status for status, _, _ in MATRIX} == set(Status)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PAUSED}))
def test_only_what_is_paused_is_resumed(each_service: Service, status: Status) -> None:
    job_id = each_service.job(status)
    before = job(each_service, job_id)

    answer = each_service.client.post(f"/v1/jobs/{job_id}/resume")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_paused")
    assert job(each_service, job_id) == before


def test_a_paused_job_is_taken_by_nobody_until_it_is_resumed(each_service: Service) -> None:
    job_id = each_service.job()
    queued = job(each_service, job_id)
    paused = pause(each_service, job_id)
    with pytest.raises(AssertionError):
        each_service.claim()
    other = each_service.job()

    resumed = resume(each_service, job_id)

    assert (paused["status"], paused["waiting_for"], paused["finished_at"]) == ("paused", [], None)
    assert (resumed["status"], resumed["attempt"]) == ("queued", 0)
    assert resumed["queued_at"] > queued["queued_at"]
    assert [each_service.claim().id for _ in range(2)] == [other, job_id]  # it queues anew


@pytest.mark.parametrize(("how", "wished"), [("save", Wish.PAUSE_SAVED), ("latest", Wish.PAUSE)])
def test_the_worker_hears_of_it_and_gives_the_job_back(each_service: Service, how: str, wished: Wish) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    assert wish(each_service, held) is None

    pause(each_service, job_id, how)

    assert (wish(each_service, held), wish(each_service, held, 60)) == (wished, wished)
    each_service.progress(held, completed=1, total=2, epoch=1, epochs=3)  # it stays pausing
    each_service.requeue(held)
    paused = job(each_service, job_id)
    assert (paused["status"], paused["epoch"], paused["lost_workers"]) == ("paused", 1, 0)
    with pytest.raises(Fenced):
        wish(each_service, held)
    with each_service.database.transaction() as session:
        assert session.get_one(Job, job_id).lease_until is None
    resume(each_service, job_id)
    again = each_service.claim()
    assert (again.attempt, wish(each_service, again)) == (2, None)  # the pause of before is forgotten


def test_latest_is_stronger_than_save(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    for how, wished in (("save", Wish.PAUSE_SAVED), ("latest", Wish.PAUSE), ("save", Wish.PAUSE)):
        assert pause(each_service, job_id, how)["status"] == "pausing"
        assert wish(each_service, held) is wished


def test_a_job_without_epochs_stops_now(each_service: Service, tmp_path: Path) -> None:
    teacher = each_service.job()
    held = each_service.claim()
    each_service.publish(held, 1, b"weights", tmp_path)
    each_service.finish(held, Ending(Status.SUCCEEDED))
    job_id = each_service.job(kind="evaluate", model={"job": teacher})
    evaluating = each_service.bring(job_id, Status.RUNNING)

    pause(each_service, job_id, "save")

    assert wish(each_service, evaluating) is Wish.PAUSE


@pytest.mark.parametrize("ends", ["requeue", "finish", "lose"])
def test_a_pausing_job_can_be_cancelled(each_service: Service, ends: str) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.PAUSING)

    assert each_service.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "cancelling"

    assert wish(each_service, held) is Wish.CANCEL
    match ends:
        case "requeue":
            each_service.requeue(held)
        case "finish":
            each_service.end(held, Status.CANCELLED)
        case "lose":
            lose(each_service)
    assert job(each_service, job_id)["status"] == "cancelled"


def test_a_trainer_that_was_faster_wins(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.PAUSING)

    each_service.finish(held, Ending(Status.SUCCEEDED, result={}))

    assert job(each_service, job_id)["status"] == "succeeded"


def test_a_pausing_job_that_loses_its_worker_is_paused_and_nothing_is_counted(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.PAUSING)

    assert lose(each_service, max_lost_workers=0) == []

    paused = job(each_service, job_id)
    assert (paused["status"], paused["lost_workers"], paused["reason"]) == ("paused", 0, None)
    with pytest.raises(Fenced):
        each_service.epoch(held, 1)


def test_resuming_counts_no_lost_worker_and_forgets_none(each_service: Service) -> None:
    job_id = each_service.job(Status.RUNNING)
    assert lose(each_service) == [job_id]
    for _ in range(3):
        pause(each_service, job_id)
        assert resume(each_service, job_id)["lost_workers"] == 1


def test_a_dependant_waits_for_a_paused_job(each_service: Service) -> None:
    dataset = each_service.dataset()
    teacher = each_service.submit(dataset)["id"]
    student = each_service.submit(dataset, model={"job": teacher})["id"]

    pause(each_service, teacher)

    with each_service.database.transaction() as session:
        assert expiry.fail_blocked(session) == []
    assert job(each_service, student)["waiting_for"][0]["status"] == "paused"


def test_a_paused_job_may_be_deleted_or_stripped(each_service: Service, tmp_path: Path) -> None:
    jobs = [each_service.job() for _ in range(2)]
    for job_id in jobs:
        held = each_service.bring(job_id, Status.RUNNING)
        each_service.publish(held, 1, b"weights", tmp_path)
        pause(each_service, job_id)
        each_service.requeue(held)

    assert each_service.client.delete(f"/v1/jobs/{jobs[0]}").status_code == 204
    stripped = each_service.client.delete(f"/v1/jobs/{jobs[1]}", params={"keep": "weights"})

    assert (stripped.status_code, stripped.json()["status"]) == (200, "cancelled")
    assert each_service.client.get(f"/v1/jobs/{jobs[1]}/weights").content == b"weights"
    assert each_service.client.get(f"/v1/jobs/{jobs[0]}").status_code == 404


def test_a_study_whose_rest_is_held_back_is_paused(each_service: Service) -> None:
    body = {
        "name": "tiny", "dataset": each_service.dataset(), "teacher": {"model": {"job": each_service.job()}},
        "student": {"architecture": "yolov8n"}, "methods": ["none"], "seeds": [0, 1], "train": {"epochs": 2},
    }  # fmt: skip
    study = each_service.client.post("/v1/studies", json=body).raise_for_status().json()
    first, second = (member["job"] for member in study["members"])

    def status() -> str:
        return str(each_service.client.get(study["links"]["self"]).json()["status"])

    pause(each_service, first)
    assert status() == "running"
    pause(each_service, second)
    assert status() == "paused"
    assert each_service.client.post(study["links"]["cancel"]).json()["jobs"] == {"cancelled": 2}


def test_two_who_resume_are_one(each_service: Service) -> None:
    job_id = each_service.job(Status.PAUSED)

    answers = [each_service.client.post(f"/v1/jobs/{job_id}/resume").status_code for _ in range(2)]

    assert answers == [202, 409]


@pytest.mark.parametrize("tail", ["pause", "resume"])
def test_of_nothing_nothing_is_paused(service: Service, tail: str) -> None:
    assert service.client.post(f"/v1/jobs/{NOBODY['job']}/{tail}").status_code == 404


def test_a_job_that_was_claimed_in_that_moment_is_pausing(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.claim()  # between the owner's look and the move

    with each_service.database.transaction() as session:
        transitions.pause(session, job_id, "save")

    assert job(each_service, job_id)["status"] == "pausing"
    assert wish(each_service, held) is Wish.PAUSE_SAVED
