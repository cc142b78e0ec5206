import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text, update

from api.db import after_seconds
from api.reaper import Reaper, purge
from api.tables.datasets import Dataset
from api.tables.idempotency import IdempotencyKey
from api.tables.jobs import Job
from api.tables.ledger import Reservation
from api.tables.states import Status
from api.tables.webhooks import Delivery, Webhook
from api.wake_ups import INSPECT, TRAIN, Doorbell
from tests.servers import Backend, Valkey
from tests.worker.conftest import Rows, until
from worker.workplace import Workplace


@pytest.fixture
def reaper(place: Workplace) -> Iterator[Reaper]:
    settings = place.settings.model_copy(
        update={"lease_seconds": 3, "heartbeat_seconds": 0.1, "ring_again_seconds": 0.2}
    )
    reaper = Reaper(settings)
    yield reaper
    reaper.database.engine.dispose()


def lose(rows: Rows) -> str:
    job_id = rows.job()
    assert rows.claim() is not None
    with rows.place.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(lease_until=after_seconds(-1)))
    return job_id


@pytest.mark.slow
def test_nothing_expires_in_the_first_lease_period(reaper: Reaper, rows: Rows) -> None:
    job_id = lose(rows)
    reaper.round()
    assert rows.get(job_id).status == Status.STARTING
    time.sleep(3.1)
    reaper.round()
    assert rows.get(job_id).status == Status.QUEUED
    reaper.ring()
    until(lambda: reaper.doorbell.pending(TRAIN) == 1)  # rung at once


def test_a_clock_that_was_put_back_keeps_nothing_waiting(reaper: Reaper, rows: Rows) -> None:
    job_id, upload = lose(rows), rows.upload(b"more", worker="gone")
    hour, soon = after_seconds(3600), timedelta(seconds=2 * reaper.settings.lease_seconds)
    hook = Webhook(id="wh_1", name="all", url="https://example.org/", events=[], secrets=[])
    with rows.place.database.transaction() as session:
        session.add(hook)
        session.flush()
        sent = {"webhook_id": hook.id, "event": "job.failed", "body": "{}", "next_attempt_at": hour}
        session.add_all([Delivery(id="msg_1", **sent), Delivery(id="msg_2", attempts=1, lease_until=hour, **sent)])
        key = {"caller": "", "key": "k", "fingerprint": "f", "claim": "c"}
        session.add(IdempotencyKey(claimed_until=hour, **key))
        session.add(Reservation(id="res_1", file="x", holder="gone", size=1, grows_to=1, lease_until=hour))
        session.execute(update(Job).values(lease_until=hour))
        session.execute(update(Dataset).where(Dataset.id == upload).values(lease_until=hour))

    reaper.pull_back()

    with rows.place.database.transaction() as session:
        times = [session.get(Job, job_id).lease_until, session.get(Dataset, upload).lease_until]
        times += [session.get(Reservation, "res_1").lease_until]
        claimed = session.scalar(select(IdempotencyKey.claimed_until))
        messages = session.scalars(select(Delivery)).all()
    assert claimed - datetime.now(UTC) < timedelta(minutes=2)
    assert all(at - datetime.now(UTC) < soon for at in times), times
    assert all(one.next_attempt_at - datetime.now(UTC) < soon for one in messages)
    assert all(
        one.lease_until is None or one.lease_until - datetime.now(UTC) < timedelta(minutes=1) for one in messages
    )


def test_two_reapers_count_one_loss(reaper: Reaper, rows: Rows) -> None:
    job_id = lose(rows)
    other = Reaper(reaper.settings)
    for one in (reaper, other):
        one.expire()
    assert rows.get(job_id).lost_workers == 1
    other.database.engine.dispose()


def test_rows_that_nobody_rang_for_are_rung_and_a_long_queue_does_not_drown(reaper: Reaper, rows: Rows) -> None:
    for content in (b"a", b"b"):
        rows.upload(content)
    for _ in range(3):
        rows.job()
    assert (reaper.doorbell.pending(TRAIN), reaper.doorbell.pending(INSPECT)) == (0, 0)
    for _ in range(4):  # the worker is busy for hours
        time.sleep(0.3)
        reaper.ring()
    until(lambda: (reaper.doorbell.pending(TRAIN), reaper.doorbell.pending(INSPECT)) == (3, 2))


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_rings_on_their_way_to_a_slow_broker_are_pending(backend: Backend) -> None:
    bell = Doorbell(backend.broker_url)
    assert bell.send(TRAIN, "job_0")
    broker = create_engine(backend.broker_url.removeprefix("sqla+"))
    with broker.connect() as holder:
        holder.execute(text("BEGIN EXCLUSIVE"))
        assert bell.ring(TRAIN, "job_1")
        assert bell.pending(TRAIN) >= 2
        holder.rollback()
    until(lambda: bell.pending(TRAIN) == 2)
    broker.dispose()


def test_a_broker_that_is_away_costs_nothing_but_the_ring(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    away = Reaper(place.settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0", "ring_again_seconds": 0.01}))
    time.sleep(0.05)
    away.ring()
    assert rows.get(job_id).status == Status.QUEUED
    away.database.engine.dispose()


def test_abandoned_files_are_swept(reaper: Reaper, rows: Rows, place: Workplace) -> None:
    with place.storage.incoming() as incoming:
        incoming.write(b"half of an upload")
        [file] = (place.storage.root / "incoming").iterdir()
        reaper.sweep()
        assert file.exists()  # somebody may still be writing it
        a_week_ago = time.time() - 7 * 86_400
        os.utime(file, (a_week_ago, a_week_ago))
        reaper.sweep()
        assert not file.exists()


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_only_messages_delivered_long_ago_are_purged(backend: Backend) -> None:
    bell = Doorbell(backend.broker_url)
    for number in range(3):
        assert bell.send(TRAIN, f"job_{number}")
    broker = create_engine(backend.broker_url.removeprefix("sqla+"))
    long_ago, recently = (datetime.now() - timedelta(hours=hours) for hours in (25, 1))  # noqa: DTZ005 - as kombu does
    with broker.begin() as connection:
        for row_id, moment in ((1, long_ago), (2, recently)):
            values = {"id": row_id, "moment": str(moment)}
            connection.execute(text("UPDATE kombu_message SET visible = 0, timestamp = :moment WHERE id = :id"), values)
    assert purge(broker, 86_400) == 1
    assert purge(broker, 86_400) == 0
    assert bell.pending(TRAIN) == 1
    broker.dispose()


@pytest.mark.parametrize("backend", ["servers"], indirect=True)
def test_a_frozen_broker_stops_no_reaping(place: Workplace, rows: Rows, tmp_path: Path) -> None:
    broker = Valkey(tmp_path / "valkey")
    broker.start()
    own = {"broker_url": broker.new_url(), "lease_seconds": 1, "reaper_seconds": 0.1, "ring_again_seconds": 0.1}
    reaper, stop = Reaper(place.settings.model_copy(update=own)), threading.Event()
    running = threading.Thread(target=reaper.run, args=(stop,))
    broker.freeze()
    try:
        running.start()
        for _ in range(2):
            job_id = lose(rows)
            until(lambda job_id=job_id: rows.get(job_id).status == Status.QUEUED, 10)
            with place.database.transaction() as session:  # out of the next one's way
                session.execute(update(Job).values(status=Status.CANCELLED))
    finally:
        stop.set()
        running.join(10)
        broker.wake()
        broker.stop()
    assert not running.is_alive()
    reaper.database.engine.dispose()
