"""Cancelling: what each state answers, and what it becomes."""

import pytest

from api.jobs.lifecycle import Ending
from api.tables.states import Status
from rdrkd.reasons import Reason
from tests.api.conftest import NOBODY, Service

MATRIX = [
    (Status.QUEUED, 200, Status.CANCELLED),
    (Status.STARTING, 202, Status.CANCELLING),
    (Status.RUNNING, 202, Status.CANCELLING),
    (Status.PAUSING, 202, Status.CANCELLING),
    (Status.PAUSED, 200, Status.CANCELLED),
    (Status.CANCELLING, 202, Status.CANCELLING),
    (Status.CANCELLED, 200, Status.CANCELLED),
    (Status.SUCCEEDED, 409, Status.SUCCEEDED),
    (Status.FAILED, 409, Status.FAILED),
]


@pytest.mark.parametrize(("status", "answer", "becomes"), MATRIX)
def test_cancel_by_state(each_service: Service, status: Status, answer: int, becomes: Status) -> None:
    job_id = each_service.job(status)
    before = each_service.client.get(f"/v1/jobs/{job_id}").json()

    response = each_service.client.post(f"/v1/jobs/{job_id}/cancel")

    after = each_service.client.get(f"/v1/jobs/{job_id}").json()
    assert response.status_code == answer
    assert after["status"] == becomes
    if answer == 409:
        assert response.json()["code"] == "already_finished"
        assert after == before
    else:
        assert response.json()["status"] == becomes
        assert ("Retry-After" in response.headers) == (answer == 202)


def test_every_state_is_in_the_matrix() -> None:
    assert {status for status, _, _ in MATRIX} == set(Status)


def test_a_cancelled_queued_job_says_why_and_is_never_claimed(service: Service) -> None:
    job_id = service.job()

    cancelled = service.client.post(f"/v1/jobs/{job_id}/cancel").json()

    assert (cancelled["reason"], cancelled["waiting_for"]) == ("user_cancelled", [])
    assert cancelled["finished_at"] is not None
    with pytest.raises(AssertionError):
        service.claim()


def test_asking_twice_changes_nothing(service: Service) -> None:
    job_id = service.job(Status.RUNNING)
    service.client.post(f"/v1/jobs/{job_id}/cancel")
    etag = service.client.get(f"/v1/jobs/{job_id}").headers["ETag"]

    assert service.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert service.client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag}).status_code == 304


def test_a_trainer_that_was_faster_wins(service: Service) -> None:
    job_id = service.job()
    held = service.bring(job_id, Status.RUNNING)
    assert service.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 202

    service.finish(held, Ending(Status.SUCCEEDED, result={"kind": "train"}))

    assert service.client.get(f"/v1/jobs/{job_id}").json()["status"] == "succeeded"
    assert service.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 409


def test_a_stopped_job_ends_as_cancelled(service: Service) -> None:
    job_id = service.job()
    held = service.bring(job_id, Status.CANCELLING)

    service.finish(held, Ending(Status.CANCELLED, Reason.USER_CANCELLED))

    job = service.client.post(f"/v1/jobs/{job_id}/cancel").json()
    assert (job["status"], job["reason"]) == ("cancelled", "user_cancelled")


def test_cancel_of_nothing(service: Service) -> None:
    response = service.client.post(f"/v1/jobs/{NOBODY['job']}/cancel")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
