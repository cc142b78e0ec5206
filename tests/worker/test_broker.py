"""What happens to the broker, whatever it is, holds no worker: each claims again within seconds. Real processes."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy.engine import make_url

from api.db import Base
from api.tables.states import Status
from api.wake_ups import TRAIN
from tests.servers import Backend, Postgres, Valkey
from tests.worker.conftest import Rows, settings_for, until
from tests.worker.processes import Workers, workers_of
from worker.workplace import Workplace

AGAIN_SECONDS = 10  # within which a worker claims again after the last fault; the machine may be busy, so twice as long


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A broker of this test's own, which it may ill-treat."""
    server = Valkey(tmp_path / "valkey")
    server.start()
    yield server
    server.wake()
    server.stop()


@pytest.fixture
def rows(valkey: Valkey, postgres: Postgres, tmp_path: Path) -> Iterator[Rows]:
    with postgres.database() as url:
        backend = Backend("servers", url, valkey.new_url(), valkey)
        place = Workplace.open(settings_for(backend, tmp_path / "var"))
        Base.metadata.create_all(place.database.engine)
        yield Rows(place)
        place.database.engine.dispose()


@pytest.fixture
def workers(rows: Rows, tmp_path: Path) -> Iterator[Workers]:
    with workers_of(rows, tmp_path) as workers:
        yield workers


def restart(valkey: Valkey) -> None:
    valkey.stop()
    time.sleep(1)
    valkey.start()


def killed(valkey: Valkey) -> None:
    valkey.kill()
    time.sleep(4)
    valkey.start()


def frozen(valkey: Valkey) -> None:
    valkey.freeze()
    time.sleep(8)
    valkey.wake()


def wiped(valkey: Valkey) -> None:
    valkey.wipe()


def ended(rows: Rows, jobs: list[str]) -> bool:
    return all(rows.get(job_id).status == Status.SUCCEEDED for job_id in jobs)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [restart, killed, frozen, wiped])
@pytest.mark.parametrize("seconds", ["0.01", "2"], ids=["idle", "at_a_jobs_end"])
def test_workers_claim_again_after_a_fault(
    rows: Rows, workers: Workers, valkey: Valkey, fault: Callable[[Valkey], None], seconds: str
) -> None:
    started = [workers.start() for _ in range(2)]
    before = [rows.job(epochs=1, seconds=seconds) for _ in started]
    for job_id in before:
        rows.place.doorbell.ring(TRAIN, job_id)
    states = (Status.RUNNING, Status.SUCCEEDED)
    until(lambda: all(rows.get(job_id).status in states for job_id in before), 60)
    if seconds == "0.01":
        until(lambda: ended(rows, before), 30)

    fault(valkey)  # jobs of two seconds end meanwhile

    after = [rows.job(epochs=1, seconds="3") for _ in started]  # so long that one worker could not do both in time
    until(lambda: all(rows.get(job_id).status in states for job_id in after), 2 * AGAIN_SECONDS)
    until(lambda: ended(rows, [*before, *after]), 60)
    assert all(process.poll() is None for process in started), workers.said()
    # And the bell works again: for longer than the timer's period nobody rings, then a ring is heard.
    until(lambda: rows.place.doorbell.pending(TRAIN) == 0, 2 * AGAIN_SECONDS)
    assert "cannot be acknowledged" not in workers.said()  # no task here waits for that


@contextmanager
def demoted(broker: redis.Redis) -> Iterator[None]:
    """Make the server a replica without a master, as in a failover."""
    broker.replicaof("127.0.0.1", 1)
    yield
    broker.replicaof("NO", "ONE")


@contextmanager
def closed(broker: redis.Redis) -> Iterator[None]:
    """Require a password that the worker does not have."""
    broker.config_set("requirepass", "another")
    yield
    broker.config_set("requirepass", "")


@contextmanager
def mistyped(broker: redis.Redis) -> Iterator[None]:
    """Put a value of another type in the place of the queue."""
    broker.delete(TRAIN)
    broker.set(TRAIN, "not a list")
    yield
    broker.delete(TRAIN)


@pytest.mark.slow
def test_a_worker_outlives_every_error_that_the_broker_returns(rows: Rows, workers: Workers, valkey: Valkey) -> None:
    worker = workers.start()
    database = int(make_url(rows.place.settings.broker_url).database or 0)
    with valkey.client(database) as broker:
        until(lambda: "ready" in workers.said(), 60)
        for refusing in (demoted, closed, mistyped):
            with refusing(broker):
                broker.client_kill_filter(_type="normal", skipme=True)
                job_id = rows.job(epochs=1)
                until(lambda job_id=job_id: ended(rows, [job_id]), 2 * AGAIN_SECONDS)
                time.sleep(1)  # until its next read
    rows.place.doorbell.ring(TRAIN, "job_1")
    until(lambda: rows.place.doorbell.pending(TRAIN) == 0, 4 * AGAIN_SECONDS)
    assert worker.poll() is None, workers.said()[-3000:]


@pytest.mark.slow
def test_a_frozen_broker_holds_up_no_work_and_no_end(rows: Rows, workers: Workers, valkey: Valkey) -> None:
    worker = workers.start()
    first = rows.job(epochs=1)
    until(lambda: rows.get(first).status == Status.SUCCEEDED, 60)
    valkey.freeze()

    second = rows.job(epochs=1)
    until(lambda: rows.get(second).status == Status.SUCCEEDED, 2 * AGAIN_SECONDS)
    third = rows.job(epochs=100, seconds="0.5")
    until(lambda: rows.artifacts(third), 30)
    worker.terminate()

    assert worker.wait(30) == 0
    assert rows.get(third).status == Status.QUEUED  # given back


@pytest.mark.slow
def test_no_job_waits_while_a_worker_idles(rows: Rows, workers: Workers) -> None:
    busy = workers.start()
    long = rows.job(epochs=1000, seconds="0.5")
    until(lambda: rows.get(long).status == Status.RUNNING, 60)
    workers.start()
    for _ in range(3):  # the busy one may hear every ring, and can do nothing
        job_id = rows.job(epochs=1)
        rows.place.doorbell.ring(TRAIN, job_id)
        until(lambda job_id=job_id: rows.get(job_id).status == Status.SUCCEEDED, 2 * AGAIN_SECONDS)
    assert rows.get(long).status == Status.RUNNING
    assert busy.poll() is None


MESSAGE: dict[str, Any] = {  # as Celery writes it
    "body": "W1siam9iXzEiXSwge30sIHt9XQ==",
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"lang": "py", "task": "worker.ring_train", "id": "1", "root_id": "1", "parent_id": None, "group": None},
    "properties": {
        "correlation_id": "1",
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "train"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "1",
    },
}


def without(*path: str) -> dict[str, Any]:
    """Return a message that lacks one field."""
    copy = json.loads(json.dumps(MESSAGE))
    within = copy
    for name in path[:-1]:
        within = within[name]
    del within[path[-1]]
    return copy


def nonsense() -> Iterator[bytes]:
    """Yield what a queue may hold that is no ring: garbage, JSON of any shape, and messages with one thing wrong."""
    yield from (b"\xff\xfe\x00", b"", b"{", b"[" * 100_000, "{\ud800}".encode(errors="surrogatepass"))
    shapes = [None, 0, 1.5, True, "", "x", [], [1], {}, {"a": 1}, [[]] * 3]
    yield from (json.dumps(shape).encode() for shape in shapes)
    for path in [(name,) for name in MESSAGE] + [
        (part, name) for part in ("headers", "properties") for name in MESSAGE[part]
    ]:
        yield json.dumps(without(*path)).encode()
        for shape in shapes:
            changed = without(*path)
            (changed if len(path) == 1 else changed[path[0]])[path[-1]] = shape
            yield json.dumps(changed).encode()
    bodies = (b"W10=", b"bnVsbA==", b"e30=", b"W1tdLHt9LHt9XQ==", b"W1sxLDIsM10se30se31d", b"W1t7fV0se30se31d", b"/w==")
    yield from (json.dumps(MESSAGE | {"body": body.decode()}).encode() for body in bodies)
    kinds = ("application/x-python-serialize", "application/data", "text/plain", "x")
    yield from (json.dumps(MESSAGE | {"content-type": kind}).encode() for kind in kinds)
    headers = MESSAGE["headers"]
    strange = (
        {"task": "os.system"},
        {"task": "celery.backend_cleanup"},
        {"eta": "x"},
        {"expires": "x"},
        {"retries": "x"},
    )
    yield from (json.dumps(MESSAGE | {"headers": headers | one}).encode() for one in strange)


@pytest.mark.slow
def test_an_entry_that_is_no_ring_is_dropped(rows: Rows, workers: Workers, valkey: Valkey) -> None:
    worker = workers.start()
    database = int(make_url(rows.place.settings.broker_url).database or 0)
    with valkey.client(database) as client:
        until(lambda: "ready" in workers.said(), 60)
        for entry in nonsense():
            client.lpush(TRAIN, entry)
        until(lambda: client.llen(TRAIN) == 0 or worker.poll() is not None, 120)
    assert worker.poll() is None, workers.said()[-3000:]
    assert "dropped an entry" in workers.said()
    job_id = rows.job(epochs=1)
    rows.place.doorbell.ring(TRAIN, job_id)
    until(lambda: rows.get(job_id).status == Status.SUCCEEDED, 60)
    assert rows.place.doorbell.pending(TRAIN) == 0  # rings are heard as before


class Embedded:
    """The same on a SQLite file."""

    @pytest.fixture
    def rows(self, tmp_path: Path) -> Iterator[Rows]:
        backend = Backend("embedded", f"sqlite:///{tmp_path}/rdrkd.db", f"sqla+sqlite:///{tmp_path}/broker.db")
        place = Workplace.open(settings_for(backend, tmp_path / "var"))
        Base.metadata.create_all(place.database.engine)
        yield Rows(place)
        place.database.engine.dispose()


class TestEmbedded(Embedded):
    @pytest.mark.slow
    def test_an_entry_that_is_no_ring_is_dropped(self, rows: Rows, workers: Workers, tmp_path: Path) -> None:
        worker = workers.start()
        until(lambda: "ready" in workers.said(), 60)
        rows.place.doorbell.send(TRAIN, "job_1")
        with closing(sqlite3.connect(tmp_path / "broker.db", timeout=30)) as broker:
            [queue_id] = broker.execute("SELECT id FROM kombu_queue WHERE name = 'train'").fetchone()
            values = [(entry, queue_id) for entry in list(nonsense())[:60]]
            broker.executemany(
                "INSERT INTO kombu_message (payload, queue_id, visible, timestamp, version) "
                "VALUES (?, ?, 1, '2026-01-01 00:00:00', 1)",
                values,
            )
            broker.commit()
        until(lambda: rows.place.doorbell.pending(TRAIN) == 0 or worker.poll() is not None, 120)
        assert worker.poll() is None, workers.said()[-3000:]

    @pytest.mark.slow
    def test_a_locked_broker_holds_up_no_work(self, rows: Rows, workers: Workers, tmp_path: Path) -> None:
        worker = workers.start()
        until(lambda: "ready" in workers.said(), 60)
        with closing(sqlite3.connect(tmp_path / "broker.db", isolation_level=None, timeout=30)) as broker:
            broker.execute("BEGIN EXCLUSIVE")
            job_id = rows.job(epochs=1)
            until(lambda: rows.get(job_id).status == Status.SUCCEEDED, 2 * AGAIN_SECONDS)
            time.sleep(8)  # longer than anybody waits for the lock
            broker.execute("ROLLBACK")
        again = rows.job(epochs=1)
        assert rows.place.doorbell.send(TRAIN, again)
        until(lambda: rows.get(again).status == Status.SUCCEEDED, 2 * AGAIN_SECONDS)
        until(lambda: rows.place.doorbell.pending(TRAIN) == 0, 2 * AGAIN_SECONDS)
        assert worker.poll() is None, workers.said()[-3000:]
