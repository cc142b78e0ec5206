"""Retrying: who may go on, what is forgotten and what is remembered, and what a study makes of it."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.jobs.lifecycle import Ending
from api.studies import service as studies
from api.tables.jobs import Job
from api.tables.leases import Fenced
from api.tables.states import ENDED_EARLY, Status
from rdrkd.reasons import Reason
from tests.api.conftest import NOBODY, Service

RETRIED = [
    {"json": {"from": "checkpoint"}},
    {"json": {}},
    {},
    {"json": {"from": "scratch"}},
]


def retry(service: Service, job_id: str, **request: Any) -> dict[str, Any]:
    answer = service.client.post(f"/v1/jobs/{job_id}/retry", **request)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def job(service: Service, job_id: str) -> dict[str, Any]:
    return dict(service.client.get(f"/v1/jobs/{job_id}").raise_for_status().json())


def failed(service: Service, message: str = "the loss left the finite numbers") -> str:
    job_id = service.job()
    held = service.bring(job_id, Status.RUNNING)
    service.epoch(held, 1)
    service.progress(held, completed=1, total=2, epoch=2, epochs=3)
    service.warn(held, "term_weak", "weak")
    problems = [{"where": "/train/lr0", "detail": "expected less"}]
    service.finish(held, Ending(Status.FAILED, Reason.NAN_LOSS, message, problems))
    return job_id


@pytest.mark.parametrize("request_", RETRIED)
def test_a_job_that_failed_goes_on_as_the_same_job(each_service: Service, request_: dict[str, Any]) -> None:
    job_id = failed(each_service)
    with each_service.database.transaction() as session:
        session.execute(update(Job).values(lost_workers=3))
    before = job(each_service, job_id)

    answer = each_service.client.post(f"/v1/jobs/{job_id}/retry", **request_)

    after = job(each_service, job_id)
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/jobs/{job_id}")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json() == after
    assert (after["status"], after["attempt"], after["lost_workers"]) == ("queued", 1, 0)
    assert [after[name] for name in ("reason", "message", "result", "progress", "started_at", "finished_at")] == [
        None
    ] * 6
    assert after["problems"] == []
    assert after["queued_at"] > before["queued_at"]
    kept = {name: before[name] for name in ("attempt", "status", "reason", "message", "problems", "lost_workers")}
    assert after["earlier"] == [{**kept, "finished_at": before["finished_at"]}]
    assert after["warnings"] == before["warnings"]
    scratch = request_.get("json", {}).get("from") == "scratch"
    assert len(each_service.client.get(f"/v1/jobs/{job_id}/metrics").json()["data"]) == (0 if scratch else 1)
    held = each_service.claim()
    assert (held.id, held.attempt, held.scratch_after) == (job_id, 2, 1 if scratch else 0)


@pytest.mark.slow
def test_each_end_is_remembered_the_newest_fifty(service: Service) -> None:
    job_id = failed(service, "end 0")
    for number in range(1, 53):
        retry(service, job_id)
        service.finish(service.bring(job_id, Status.RUNNING), Ending(Status.FAILED, Reason.INTERNAL, f"end {number}"))
    retry(service, job_id)

    earlier = job(service, job_id)["earlier"]

    assert [end["message"] for end in earlier] == [f"end {number}" for number in range(3, 53)]
    assert [end["attempt"] for end in earlier] == list(range(4, 54))


@pytest.mark.parametrize("status", sorted(set(Status) - ENDED_EARLY))
def test_only_what_has_ended_early_is_retried(each_service: Service, status: Status) -> None:
    job_id = each_service.job(status)
    before = job(each_service, job_id)

    answer = each_service.client.post(f"/v1/jobs/{job_id}/retry")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_retryable")
    assert status in answer.json()["detail"]
    assert job(each_service, job_id) == before


def test_a_cancelled_job_can_be_cancelled_again_after_its_retry(each_service: Service) -> None:
    job_id = each_service.job()
    each_service.client.post(f"/v1/jobs/{job_id}/cancel")
    retry(each_service, job_id)
    held = each_service.claim()

    each_service.progress(held)  # nobody asks it to stop

    cancelled = each_service.client.post(f"/v1/jobs/{job_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["earlier"][0]["status"]) == (202, "cancelled")


def test_the_attempt_before_can_write_no_more(each_service: Service) -> None:
    job_id = each_service.job()
    late = each_service.bring(job_id, Status.RUNNING)
    each_service.end(late, Status.FAILED)
    retry(each_service, job_id)

    with pytest.raises(Fenced):
        each_service.epoch(late, 1)
    each_service.claim()
    with pytest.raises(Fenced):
        each_service.epoch(late, 1)


def test_two_retries_at_once_are_one(each_service: Service) -> None:
    job_id = failed(each_service)
    answers = [each_service.client.post(f"/v1/jobs/{job_id}/retry").status_code for _ in range(2)]

    assert answers == [202, 409]
    assert len(job(each_service, job_id)["earlier"]) == 1


def test_a_retry_under_a_key_is_one_though_the_job_has_failed_again(each_service: Service) -> None:
    job_id = failed(each_service)
    headers = {"Idempotency-Key": "again"}
    first = each_service.client.post(f"/v1/jobs/{job_id}/retry", headers=headers)
    each_service.end(each_service.claim(), Status.FAILED)

    again = each_service.client.post(f"/v1/jobs/{job_id}/retry", headers=headers)

    assert (again.status_code, again.json()) == (202, first.json())
    assert job(each_service, job_id)["status"] == "failed"


def test_what_can_never_start_is_not_retried(each_service: Service) -> None:
    dataset = each_service.dataset()
    teacher = each_service.submit(dataset)["id"]
    student = each_service.submit(dataset, model={"job": teacher})["id"]
    each_service.end(each_service.claim(), Status.FAILED)  # and the student with it
    assert job(each_service, student)["reason"] == "dependency_failed"

    refused = each_service.client.post(f"/v1/jobs/{student}/retry")
    retry(each_service, teacher)

    assert (refused.status_code, refused.json()["code"]) == (409, "not_retryable")
    assert teacher in refused.json()["detail"]
    assert job(each_service, student)["status"] == "failed"  # nobody revives it unasked
    assert retry(each_service, student)["waiting_for"][0]["id"] == teacher


@pytest.mark.parametrize("body", [{"from": "epoch 3"}, {"from": None}, {"form": "scratch"}, [], "scratch"])
def test_bad_bodies_are_refused_by_field(service: Service, body: Any) -> None:
    job_id = failed(service)

    answer = service.client.post(f"/v1/jobs/{job_id}/retry", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"]
    assert job(service, job_id)["status"] == "failed"


def test_retry_of_nothing(service: Service) -> None:
    assert service.client.post(f"/v1/jobs/{NOBODY['job']}/retry").status_code == 404


# -- inside a study

STUDY = {
    "name": "tiny", "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 3}},
    "student": {"architecture": "yolov8n"}, "seeds": [0, 1], "train": {"epochs": 2},
}  # fmt: skip


def post_study(service: Service, *methods: str) -> dict[str, Any]:
    body = {**STUDY, "dataset": service.dataset(), "methods": methods}
    return dict(service.client.post("/v1/studies", json=body).raise_for_status().json())


def study(service: Service, study_id: str) -> dict[str, Any]:
    return dict(service.client.get(f"/v1/studies/{study_id}").raise_for_status().json())


def succeed(service: Service, folder: Path, job_id: str) -> None:
    held = service.bring(job_id, Status.RUNNING)
    service.publish(held, 1, b"weights", folder)
    service.finish(held, Ending(Status.SUCCEEDED, result={"metrics": {"coco": {"AP": 1.5}}}))


def draw_due(service: Service) -> list[str]:
    with service.database.transaction() as session:
        return studies.draw_finished(session)


def test_a_member_that_is_retried_is_the_studys_still_and_the_report_is_drawn_anew(
    each_service: Service, tmp_path: Path
) -> None:
    posted = post_study(each_service, "none")
    teacher, first, second = posted["teacher"]["job"], *(member["job"] for member in posted["members"])
    succeed(each_service, tmp_path, teacher)
    succeed(each_service, tmp_path, first)
    each_service.end(each_service.bring(second, Status.RUNNING), Status.FAILED)
    [report] = draw_due(each_service)
    each_service.end(each_service.bring(report, Status.RUNNING), Status.SUCCEEDED)
    before = study(each_service, posted["id"])
    assert (before["status"], before["report"]["current"]) == ("failed", True)

    retry(each_service, second)

    during = study(each_service, posted["id"])
    assert during["status"] == "running"
    assert [member["job"] for member in during["members"]] == [first, second]
    assert draw_due(each_service) == []
    assert each_service.client.post(posted["links"]["resume"]).json()["code"] == "nothing_to_resume"
    succeed(each_service, tmp_path, second)
    assert study(each_service, posted["id"])["status"] == "succeeded"
    assert len(draw_due(each_service)) == 1


def test_a_teacher_that_is_retried_is_the_one_that_resumed_members_wait_for(each_service: Service) -> None:
    posted = post_study(each_service, "rdr-kd")
    teacher = posted["teacher"]["job"]
    each_service.end(each_service.bring(teacher, Status.RUNNING), Status.FAILED)
    assert study(each_service, posted["id"])["jobs"] == {"failed": 3}

    retry(each_service, teacher)
    resumed = each_service.client.post(posted["links"]["resume"]).raise_for_status().json()

    assert resumed["teacher"]["job"] == teacher
    assert resumed["jobs"] == {"queued": 3}
    for member in resumed["members"]:
        assert job(each_service, member["job"])["spec"]["teacher"] == {"job": teacher}
    assert each_service.claim().id == teacher


def test_a_member_that_has_a_successor_is_retried_no_more(each_service: Service) -> None:
    posted = post_study(each_service, "none")
    first = posted["members"][0]["job"]
    each_service.client.post(posted["links"]["cancel"])
    resumed = each_service.client.post(posted["links"]["resume"]).json()
    successor = resumed["members"][0]["job"]

    refused = each_service.client.post(f"/v1/jobs/{first}/retry")

    assert (refused.status_code, refused.json()["code"]) == (409, "not_retryable")
    assert successor in refused.json()["detail"]
