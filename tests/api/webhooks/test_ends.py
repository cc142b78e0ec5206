"""Every end is told, whichever way a job ends and whatever its owner does with the row a moment later."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import select, update

from api.db import after_seconds
from api.jobs import claims, expiry, lifecycle
from api.tables.jobs import Job
from api.tables.states import Status
from api.tables.webhooks import Delivery, Webhook
from tests.api.conftest import Service
from tests.api.test_ownership import STUDY
from tests.api.webhooks.conftest import MakeSender, Receiver, everything
from tests.api.webhooks.test_webhooks import log, make

PAST = {"lease_until": after_seconds(-1)}


def held(service: Service, **values: Any) -> claims.Held:
    """Have a worker hold a job, whose row is then changed."""
    service.job()
    one = service.claim()
    with service.database.transaction() as session:
        session.execute(update(Job).where(Job.id == one.id).values(values))
    return one


def repaired(service: Service, how: Callable[..., Any], *arguments: Any) -> None:
    with service.database.transaction() as session:
        how(session, *arguments)


def finished(status: Status) -> Callable[[Service], str]:
    return lambda service: service.job(status)


def cancelled_in_the_queue(service: Service) -> str:
    job = service.job()
    service.client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    return job


def cancelled_while_paused(service: Service) -> str:
    job = service.job()
    for verb in ("pause", "cancel"):
        service.client.post(f"/v1/jobs/{job}/{verb}").raise_for_status()
    return job


def given_back_while_cancelling(service: Service) -> str:
    one = held(service, status=Status.CANCELLING)
    service.requeue(one)
    return one.id


def lost_while_cancelling(service: Service) -> str:
    one = held(service, status=Status.CANCELLING, **PAST)
    repaired(service, expiry.expire, 5)
    return one.id


def lost_too_often(service: Service) -> str:
    one = held(service, lost_workers=5, **PAST)
    repaired(service, expiry.expire, 5)
    return one.id


def overdue(service: Service) -> str:
    job = service.job()
    with service.database.transaction() as session:
        session.execute(update(Job).values(deadline=after_seconds(-1)))
    repaired(service, expiry.fail_overdue)
    return job


def blocked(service: Service) -> str:
    job: str = service.submit(service.upload())["id"]
    service.settle("what is in it is none")
    repaired(service, expiry.fail_blocked)
    return job


WAYS = [
    pytest.param(finished(Status.SUCCEEDED), id="succeeded"),
    pytest.param(finished(Status.FAILED), id="failed"),
    pytest.param(finished(Status.CANCELLED), id="cancelled"),
    cancelled_in_the_queue,
    cancelled_while_paused,
    given_back_while_cancelling,
    lost_while_cancelling,
    lost_too_often,
    overdue,
    blocked,
]


@pytest.mark.parametrize("then", ["retry", "delete"])
@pytest.mark.parametrize("end", WAYS)
def test_an_end_is_told_as_it_was_whatever_follows(
    each_service: Service, receiver: Receiver, sender: MakeSender, end: Callable[[Service], str], then: str
) -> None:
    one = sender(each_service)
    hook = make(each_service, receiver.url)
    job = end(each_service)
    status = each_service.client.get(f"/v1/jobs/{job}").json()["status"]

    follows = {"retry": ("POST", f"/v1/jobs/{job}/retry"), "delete": ("DELETE", f"/v1/jobs/{job}")}
    if each_service.client.request(*follows[then]).status_code == 409:  # such as one whose deadline has passed
        each_service.client.delete(f"/v1/jobs/{job}").raise_for_status()
    everything(one)

    [told] = log(each_service, hook)
    assert (told["event"], told["status"], len(receiver.came)) == (f"job.{status}", "delivered", 1)
    assert job.encode() in receiver.came[0][1]


def test_no_end_of_a_transaction_that_fails_is_told(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service)
    hook = make(each_service, receiver.url)
    job = each_service.job()
    with suppress(ZeroDivisionError), each_service.database.transaction() as session:
        lifecycle.request_cancel(session, job)
        session.flush()
        raise ZeroDivisionError

    everything(one)

    assert log(each_service, hook) == []


def test_a_webhook_that_goes_meanwhile_is_no_obstacle_to_an_end(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    sender(each_service)
    make(each_service, receiver.url)
    each_service.job()
    one = each_service.claim()
    ending = threading.Thread(target=each_service.end, args=(one, Status.FAILED))
    with each_service.database.transaction() as session:
        session.delete(session.scalars(select(Webhook)).one())
        session.flush()
        ending.start()
        ending.join(0.5)  # it waits for this transaction, on either database
    ending.join(60)

    with each_service.database.transaction() as session:
        assert session.get_one(Job, one.id).status == Status.FAILED
        assert session.scalars(select(Delivery)).all() == []


def test_a_study_whose_last_jobs_end_at_once_is_told_once(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    sender(each_service)
    hook = make(each_service, receiver.url, events=["study.finished"])
    dataset = each_service.dataset()
    for number in range(3):
        asked = STUDY | {"dataset": dataset, "name": f"s{number}", "seeds": [0, 1, 2]}
        study = each_service.client.post("/v1/studies", json=asked).raise_for_status().json()
        jobs = [member["job"] for member in (study["teacher"], *study["members"])]
        together = threading.Barrier(len(jobs))

        def cancel(job: str, together: threading.Barrier = together) -> None:
            together.wait()
            each_service.client.post(f"/v1/jobs/{job}/cancel").raise_for_status()

        threads = [threading.Thread(target=cancel, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = log(each_service, hook)
        assert len(told) == number + 1
        assert study["id"] in told[0]["body"]


def test_messages_of_one_job_come_in_order_and_one_that_fails_holds_up_no_other_job(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service, webhooks_retry_seconds=1000)
    make(each_service, receiver.url)
    receiver.answers = [500]
    job = each_service.job(Status.FAILED)
    everything(one)
    each_service.client.post(f"/v1/jobs/{job}/retry").raise_for_status()
    each_service.end(each_service.claim(), Status.CANCELLED)
    other = each_service.job(Status.SUCCEEDED)
    everything(one)
    assert [other.encode() in body for _, body in receiver.came] == [False, True]

    with each_service.database.transaction() as session:
        session.execute(update(Delivery).values(next_attempt_at=after_seconds(-1)))
    everything(one)

    assert [b"job.failed" in receiver.came[2][1], b"job.cancelled" in receiver.came[3][1]] == [True, True]
    assert len(receiver.came) == 4
