"""How messages reach their receivers: again after failures, once by several senders, in the end or never."""

import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import select, update

from api.db import after_seconds
from api.tables.states import Status
from api.tables.webhooks import Delivery, DeliveryStatus, Webhook
from api.webhooks import client, delivery_rows
from api.webhooks.sender import Sender
from tests.api.conftest import Service
from tests.api.test_server import environment
from tests.api.webhooks.conftest import INSIDE, MakeSender, Receiver, everything
from tests.api.webhooks.test_webhooks import log, make


def at_once(sender: Sender) -> None:
    """Let every pause be over, and send."""
    with sender.database.transaction() as session:
        session.execute(update(Delivery).values(next_attempt_at=after_seconds(0)))
    everything(sender)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again_with_the_same_id(
    service: Service, receiver: Receiver, sender: MakeSender, status: int
) -> None:
    one = sender(service, webhooks_retry_seconds=100)
    hook = make(service, receiver.url)
    service.job(Status.FAILED)
    receiver.answers = [status, status]

    everything(one)
    [waiting] = log(service, hook)
    everything(one)
    assert len(receiver.came) == 1  # the pause holds
    assert service.client.get(f"/v1/webhooks/{hook['id']}").json()["failing_since"]
    at_once(one)
    at_once(one)

    [delivered] = log(service, hook)
    assert (waiting["status"], delivered["status"]) == ("waiting", "delivered")
    assert [attempt["status_code"] for attempt in delivered["attempts"]] == [status, status, 200]
    assert {headers["webhook-id"] for headers, _ in receiver.came} == {delivered["id"]}
    assert service.client.get(f"/v1/webhooks/{hook['id']}").json()["failing_since"] is None


@pytest.mark.parametrize("status", [301, 307, 400, 404])
def test_what_is_refused_for_good_is_not_tried_again_and_redirects_are_not_followed(
    service: Service, receiver: Receiver, sender: MakeSender, status: int
) -> None:
    one = sender(service)
    hook = make(service, receiver.url)
    service.job(Status.FAILED)
    receiver.answers = [status]

    everything(one)
    at_once(one)

    [failed] = log(service, hook)
    assert (failed["status"], len(receiver.came), failed["attempts"][0]["status_code"]) == ("failed", 1, status)


def test_a_receiver_that_wants_no_more_is_told_no_more(
    service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(service)
    hook = make(service, receiver.url)
    path = f"/v1/webhooks/{hook['id']}"
    service.job(Status.FAILED)
    receiver.answers = [410]
    everything(one)
    service.job(Status.FAILED)
    everything(one)

    assert "410" in service.client.get(path).json()["disabled_reason"]
    assert len(receiver.came) == 1
    service.client.patch(path, json={"enabled": True}).raise_for_status()
    service.job(Status.FAILED)
    everything(one)
    assert len(receiver.came) == 2


@pytest.mark.slow
def test_a_webhook_that_fails_for_days_is_disabled(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service, webhooks_disable_days=2, webhooks_retry_seconds=100)
    hook = make(each_service, receiver.url)
    receiver.answers = [500] * 99
    each_service.job(Status.FAILED)
    everything(one)
    each_service.job(Status.FAILED)
    with each_service.database.transaction() as session:
        session.execute(update(Webhook).values(failing_since=after_seconds(-1.9 * 86_400)))
    at_once(one)
    assert each_service.client.get(f"/v1/webhooks/{hook['id']}").json()["disabled_at"] is None
    with each_service.database.transaction() as session:
        session.execute(update(Webhook).values(failing_since=after_seconds(-2.1 * 86_400)))

    at_once(one)
    came = len(receiver.came)
    at_once(one)

    shown = each_service.client.get(f"/v1/webhooks/{hook['id']}").json()
    assert (bool(shown["disabled_at"]), "2 days" in shown["disabled_reason"]) == (True, True)
    assert {entry["status"] for entry in log(each_service, hook)} == {"failed"}
    assert len(receiver.came) == came


def test_after_the_last_attempt_a_message_has_failed(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    one = sender(service)
    hook = make(service, receiver.url)
    receiver.answers = [500] * 99
    service.job(Status.FAILED)
    for _ in range(delivery_rows.MOST_ATTEMPTS + 2):
        at_once(one)

    [failed] = log(service, hook)
    assert (failed["status"], len(failed["attempts"])) == ("failed", delivery_rows.MOST_ATTEMPTS)


def test_pauses_grow_are_random_and_have_an_end() -> None:
    pauses = [[delivery_rows.pause(attempt, 10) for _ in range(50)] for attempt in range(1, 13)]

    for attempt, drawn in enumerate(pauses):
        whole = min(10 * 3**attempt, delivery_rows.LONGEST_PAUSE)
        assert all(whole / 2 <= pause <= whole for pause in drawn)
        assert len(set(drawn)) > 1


def test_senders_side_by_side_send_each_message_once(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    senders = [sender(each_service) for _ in range(3)]
    hooks = [make(each_service, receiver.url) for _ in range(3)]
    for _ in range(3):
        each_service.job(Status.FAILED)
    together = threading.Barrier(3)

    def work(one: Sender) -> None:
        together.wait()
        for _ in range(20):
            everything(one)
            time.sleep(0.02)

    threads = [threading.Thread(target=work, args=(one,)) for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = [headers["webhook-id"] for headers, _ in receiver.came]
    assert (len(ids), len(set(ids))) == (9, 9)
    for hook in hooks:
        assert {entry["status"] for entry in log(each_service, hook)} == {"delivered"}


def test_a_sender_that_wakes_up_late_changes_nothing(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(each_service)
    hook = make(each_service, receiver.url)
    each_service.job(Status.FAILED)
    with one.database.transaction() as session:
        [late] = delivery_rows.claim(session)
    assert one.send_due() == 0  # it is held
    with one.database.transaction() as session:
        session.execute(update(Delivery).values(lease_until=after_seconds(-1)))

    assert one.send_due() == 1
    with one.database.transaction() as session:
        delivery_rows.settle(session, late, client.Answer(500, again=True), 1, 1, 1)

    [entry] = log(each_service, hook)
    assert (entry["status"], [attempt["number"] for attempt in entry["attempts"]]) == ("delivered", [2])


@pytest.mark.slow
def test_what_a_killed_reaper_was_sending_is_sent_again(
    service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    one = sender(service)
    hook = make(service, receiver.url)
    service.job(Status.FAILED)
    receiver.delay = 60
    settings = {name: str(value) for name, value in INSIDE.items()} | {"database_url": one.settings.database_url}
    env = environment(service.storage.root.parent, **settings)
    process = subprocess.Popen([sys.executable, "-m", "api.reaper"], env=env)
    deadline = time.monotonic() + 120
    while not receiver.came and time.monotonic() < deadline:
        time.sleep(0.1)

    process.kill()
    process.wait()
    receiver.delay = 0
    soon = select(Delivery).where(Delivery.lease_until < after_seconds(client.SECONDS + 5))  # not two minutes
    with one.database.transaction() as session:
        row = session.scalars(soon).one()
        assert (row.status, row.attempts, row.lease_until is not None) == (DeliveryStatus.WAITING, 1, True)
        session.execute(update(Delivery).values(lease_until=after_seconds(-1)))
    everything(one)

    assert [headers["webhook-id"] for headers, _ in receiver.came] == [log(service, hook)[0]["id"]] * 2
    assert log(service, hook)[0]["status"] == "delivered"


def test_what_nobody_foresaw_is_an_attempt_too(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    one = sender(service)
    hook = make(service, receiver.url)
    service.job(Status.FAILED)
    with one.database.transaction() as session:
        session.execute(update(Webhook).values(secrets=[{"secret": "whsec_", "until": None}]))  # signs nothing

    everything(one)

    [entry] = log(service, hook)
    assert (entry["attempts"][0]["error"], receiver.came) == ("the service failed to send it", [])


def test_the_log_is_kept_for_some_days(each_service: Service, receiver: Receiver, sender: MakeSender) -> None:
    one = sender(each_service)
    hook = make(each_service, receiver.url)
    for _ in range(2):
        each_service.job(Status.FAILED)
    everything(one)
    with each_service.database.transaction() as session:
        oldest = session.scalars(select(Delivery).order_by(Delivery.id)).first()
        assert oldest is not None
        session.execute(update(Delivery).where(Delivery.id == oldest.id).values(finished_at=after_seconds(-31 * 86400)))
        delivery_rows.purge(session, 30)

    assert len(log(each_service, hook)) == 1
