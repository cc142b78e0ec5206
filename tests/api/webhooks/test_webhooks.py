"""Webhooks as their owner sees them: made, changed, told, logged, disabled, removed."""

from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from api.tables.states import Status
from api.tables.webhooks import DeliveryAttempt, Webhook
from api.webhooks import service as webhooks
from tests.api.conftest import Service
from tests.api.test_ownership import STUDY, TRAIN
from tests.api.webhooks.conftest import MakeSender, Receiver, everything


def make(service: Service, url: str, headers: dict[str, str] | None = None, **asked: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/webhooks", json={"url": url} | asked, headers=headers)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


def log(service: Service, hook: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = service.client.get(f"/v1/webhooks/{hook['id']}/deliveries", headers=headers).json()[
        "data"
    ]
    return data


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
def test_the_end_of_a_job_is_told_signed_and_once(
    each_service: Service, receiver: Receiver, sender: MakeSender, status: Status
) -> None:
    one, other = sender(each_service), sender(each_service)
    hook = make(each_service, receiver.url)
    job = each_service.job(status)

    for each in (one, other, one):
        everything(each)

    [(headers, body)] = receiver.came
    told = Verifier(hook["secret"]).verify(body, {name.lower(): value for name, value in headers.items()})
    assert told["type"] == f"job.{status}"
    assert (told["data"]["id"], told["data"]["status"]) == (job, status)
    assert each_service.client.get(told["data"]["links"]["self"]).json()["id"] == job
    [delivery] = log(each_service, hook)
    assert (delivery["id"], delivery["status"]) == (headers["webhook-id"], "delivered")
    assert [(attempt["number"], attempt["status_code"]) for attempt in delivery["attempts"]] == [(1, 200)]
    with pytest.raises(WebhookVerificationError):
        Verifier(hook["secret"]).verify(body + b" ", {name.lower(): value for name, value in headers.items()})


def test_a_queued_job_that_is_cancelled_and_one_that_ends_again_are_told(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service)
    make(each_service, receiver.url)
    job = each_service.job()
    each_service.client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    everything(one)
    each_service.client.post(f"/v1/jobs/{job}/retry").raise_for_status()
    each_service.end(each_service.claim(), Status.FAILED)

    everything(one)

    assert [b"job.cancelled" in receiver.came[0][1], b"job.failed" in receiver.came[1][1]] == [True, True]
    assert len(receiver.came) == 2


def test_a_study_is_told_when_its_last_job_has_ended(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service)
    make(each_service, receiver.url, events=["study.finished"])
    spec = STUDY | {"dataset": each_service.dataset()}
    study = each_service.client.post("/v1/studies", json=spec).json()["id"]
    held = each_service.claim()
    everything(one)
    assert receiver.came == []
    each_service.client.post(f"/v1/studies/{study}/cancel").raise_for_status()
    each_service.end(held, Status.CANCELLED)

    everything(one)
    everything(one)

    [(_, body)] = receiver.came
    assert b'"study.finished"' in body
    assert b'"cancelled"' in body
    assert study.encode() in body


def test_only_the_owners_webhooks_hear_and_only_of_what_they_asked_for(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    alice, bob = each_service.key("alice"), each_service.key("bob")
    one = sender(each_service)
    hooks = [
        make(each_service, f"{receiver.url}/bob", bob),
        make(each_service, f"{receiver.url}/failed", alice, events=["job.failed"]),
        make(each_service, f"{receiver.url}/cancelled", alice, events=["job.cancelled"]),
    ]
    files = {"file": ("a.zip", b"PK\x05\x06" + bytes(18))}
    dataset = each_service.client.post("/v1/datasets", files=files, headers=alice).json()["id"]
    job = each_service.client.post("/v1/jobs", json=TRAIN | {"dataset": dataset}, headers=alice).json()["id"]
    each_service.client.post(f"/v1/jobs/{job}/cancel", headers=alice).raise_for_status()

    everything(one)

    assert [len(log(each_service, hook, **who)) for hook, who in zip(hooks, (bob, alice, alice), strict=True)] == [
        0,
        0,
        1,
    ]
    for hook in hooks[1:]:
        for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate"),
                             ("GET", "/deliveries")):  # fmt: skip
            body = {"json": {}} if method == "PATCH" else {}
            answer = each_service.client.request(method, f"/v1/webhooks/{hook['id']}{tail}", headers=bob, **body)
            assert answer.status_code == 404, (method, tail)


def test_a_test_is_sent_once_whatever_comes_of_it(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service)
    hook = make(each_service, receiver.url)
    path = f"/v1/webhooks/{hook['id']}"
    each_service.client.patch(path, json={"enabled": False}).raise_for_status()
    receiver.answers = [500]

    queued = each_service.client.post(f"{path}/test")
    everything(one)

    assert (queued.status_code, queued.json()["status"]) == (202, "waiting")
    [delivery] = log(each_service, hook)
    assert (delivery["event"], delivery["status"], len(receiver.came)) == ("webhook.test", "failed", 1)
    assert delivery["attempts"][0]["status_code"] == 500
    assert each_service.client.get(path).json()["failing_since"] is None


def test_secrets_rotate_and_both_sign_meanwhile(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    one = sender(service)
    hook = make(service, receiver.url)
    path = f"/v1/webhooks/{hook['id']}"

    new = service.client.post(f"{path}/rotate").json()["secret"]
    service.client.post(f"{path}/test")
    everything(one)
    with service.database.transaction() as session:
        row = session.scalars(select(Webhook)).one()
        row.secrets = [entry | {"until": entry["until"] and "2020-01-01T00:00:00+00:00"} for entry in row.secrets]
    service.client.post(f"{path}/test")
    everything(one)

    both, one_only = ({name.lower(): value for name, value in headers.items()} for headers, _ in receiver.came)
    for secret in (hook["secret"], new):
        Verifier(secret).verify(receiver.came[0][1], both)
    Verifier(new).verify(receiver.came[1][1], one_only)
    with pytest.raises(WebhookVerificationError):
        Verifier(hook["secret"]).verify(receiver.came[1][1], one_only)
    for _ in range(2 * webhooks.MOST_SECRETS):
        service.client.post(f"{path}/rotate").raise_for_status()
    with service.database.transaction() as session:
        assert len(session.scalars(select(Webhook)).one().secrets) == webhooks.MOST_SECRETS


def test_secrets_are_shown_once(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    sender(service)
    hook = make(service, receiver.url, name="ci")
    path = f"/v1/webhooks/{hook['id']}"

    shown = [service.client.get(path).text, service.client.get("/v1/webhooks").text]
    shown += [service.client.patch(path, json={"name": None}).text]

    assert hook["secret"].startswith("whsec_")
    assert not [text for text in shown if hook["secret"] in text or "secret" in text]
    assert service.client.get(path).json()["name"] is None


def test_a_webhook_goes_with_its_log_and_what_waits(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service)
    hook = make(each_service, receiver.url)
    path = f"/v1/webhooks/{hook['id']}"
    each_service.client.post(f"{path}/test").raise_for_status()
    everything(one)
    each_service.client.post(f"{path}/test").raise_for_status()

    assert each_service.client.delete(path).status_code == 204
    everything(one)

    assert len(receiver.came) == 1
    assert each_service.client.get(path).status_code == 404
    with each_service.database.transaction() as session:
        assert session.scalars(select(DeliveryAttempt)).all() == []


def test_one_owner_has_so_many_webhooks(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    sender(service)
    for _ in range(webhooks.MOST):
        make(service, receiver.url)

    answer = service.client.post("/v1/webhooks", json={"url": receiver.url})

    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
