"""Deadlines: who ends what has not ended by then, by the database's clock."""

import pytest
from sqlalchemy import update

from api.db import after_seconds
from api.jobs import expiry, lifecycle
from api.tables.jobs import Job
from api.tables.leases import Wish
from api.tables.states import Status
from tests.api.conftest import Service

FOREVER = "2126-12-01T18:00:00Z"


def pass_by(service: Service, job_id: str) -> None:
    """Let the job's deadline pass."""
    with service.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(deadline=after_seconds(-1)))


def fail_overdue(service: Service) -> list[str]:
    with service.database.transaction() as session:
        return expiry.fail_overdue(session)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PAUSED])
def test_what_waits_past_its_deadline_fails_and_others_do_not(each_service: Service, status: Status) -> None:
    job_id, patient, free = (each_service.job(status, **more) for more in ({}, {"deadline": FOREVER}, {}))
    assert fail_overdue(each_service) == []
    pass_by(each_service, job_id)

    assert fail_overdue(each_service) == [job_id]
    assert fail_overdue(each_service) == []

    job = each_service.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["reason"], job["message"]) == (
        "failed", "deadline_exceeded", "waited until its deadline had passed"
    )  # fmt: skip
    assert job["finished_at"] is not None
    assert {each_service.client.get(f"/v1/jobs/{i}").json()["status"] for i in (patient, free)} == {status}


def test_nobody_takes_a_job_whose_deadline_has_passed(each_service: Service) -> None:
    late, other = each_service.job(), each_service.job()
    pass_by(each_service, late)

    assert each_service.claim().id == other
    with pytest.raises(AssertionError):
        each_service.claim()


@pytest.mark.parametrize("status", [Status.RUNNING, Status.PAUSING])
def test_the_worker_of_a_job_hears_that_its_deadline_has_passed(each_service: Service, status: Status) -> None:
    job_id = each_service.job(deadline=FOREVER)
    held = each_service.bring(job_id, status)
    pass_by(each_service, job_id)

    with each_service.database.transaction() as session:
        assert lifecycle.renew(session, held, None) is Wish.DEADLINE
        assert lifecycle.renew(session, held, 60) is Wish.DEADLINE
    assert fail_overdue(each_service) == []  # it is the worker's
    each_service.client.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
    with each_service.database.transaction() as session:
        assert lifecycle.renew(session, held, None) is Wish.CANCEL  # what the owner asks for comes first


def test_a_job_that_has_ended_minds_no_deadline(each_service: Service) -> None:
    job_id = each_service.job(Status.CANCELLED, deadline=FOREVER)
    pass_by(each_service, job_id)

    assert fail_overdue(each_service) == []


def test_a_retry_needs_a_deadline_to_come(each_service: Service) -> None:
    job_id = each_service.job()
    pass_by(each_service, job_id)
    fail_overdue(each_service)

    refused = each_service.client.post(f"/v1/jobs/{job_id}/retry")
    each_service.client.patch(f"/v1/jobs/{job_id}", json={"deadline": FOREVER}, headers={"If-Match": "*"})
    retried = each_service.client.post(f"/v1/jobs/{job_id}/retry")

    assert (refused.status_code, refused.json()["code"]) == (409, "not_retryable")
    assert "deadline" in refused.json()["detail"]
    assert (retried.status_code, retried.json()["earlier"][0]["reason"]) == (202, "deadline_exceeded")
