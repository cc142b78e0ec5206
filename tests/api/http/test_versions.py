"""Tests for `api.http.versions`, and for the 304 that it decides."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from api import migrations
from api.db import Database
from api.errors import Overloaded
from api.http.admission import CONNECTIONS, SERVED_SECONDS, Admission
from api.http.versions import Version, Versions
from api.tables.jobs import Job
from api.tables.states import Status
from tests.api.conftest import Service


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/rdrkd.db"
    migrations.upgrade(url)
    database = Database(url, admitted=CONNECTIONS)
    database.admit(lambda: add(database, "job_1", "job_2"))
    yield database
    database.engine.dispose()


def add(database: Database, *ids: str) -> None:
    with database.transaction() as session:
        common = {"kind": "train", "spec": {}, "timeout_seconds": 60, "owner": "alice", "status": Status.RUNNING}
        session.add_all(Job(id=id_, **common) for id_ in ids)


def raise_version(database: Database) -> None:
    with database.transaction() as session:
        session.execute(sa.update(Job).values(version=Job.version + 1))


class Counted:
    """Counts the database's statements."""

    def __init__(self, database: Database) -> None:
        self.number = 0
        sa.event.listen(database.engine, "before_cursor_execute", self)

    def __call__(self, *_: Any) -> None:
        self.number += 1


def test_all_who_ask_at_once_share_two_queries(database: Database) -> None:
    async def ask() -> list[Version | None]:
        versions = Versions(database, Admission(database))
        return await asyncio.gather(*(versions.of(f"job_{number % 3}") for number in range(300)))

    statements = Counted(database)
    found = asyncio.run(ask())

    assert statements.number <= 2
    first = Version(1, Status.RUNNING, "alice")
    assert found == [None, first, first] * 100


def test_a_version_is_never_older_than_the_request_for_it(database: Database) -> None:
    async def ask() -> list[tuple[int, int]]:
        admission = Admission(database)
        versions, seen = Versions(database, admission), []

        async def poll() -> None:
            for _ in range(20):
                before = written
                found = await versions.of("job_1")
                assert found is not None
                seen.append((before, found.number))

        pollers = [asyncio.create_task(poll()) for _ in range(8)]
        written = 1
        while not all(poller.done() for poller in pollers):
            await admission.run(lambda: raise_version(database), write=True)
            written += 1
            await asyncio.sleep(0)
        return seen

    seen = asyncio.run(ask())
    assert len(seen) == 160
    assert all(number >= before for before, number in seen)
    assert len({number for _, number in seen}) > 2


def test_an_error_reaches_all_who_asked_and_the_next_query_works(database: Database) -> None:
    async def ask() -> tuple[list[Any], Version | None]:
        versions = Versions(database, Admission(database))

        def fail(*_: Any) -> None:
            raise sa.exc.OperationalError("SELECT", {}, Exception("the database is away"))

        sa.event.listen(database.engine, "before_cursor_execute", fail)
        failed = await asyncio.gather(*(versions.of("job_1") for _ in range(5)), return_exceptions=True)
        sa.event.remove(database.engine, "before_cursor_execute", fail)
        return failed, await versions.of("job_1")

    failed, found = asyncio.run(ask())
    assert [type(error) for error in failed] == [sa.exc.OperationalError] * 5
    assert found is not None


@pytest.mark.slow
def test_while_the_database_says_nothing_further_requests_are_refused_at_once(database: Database) -> None:
    frozen = threading.Event()

    async def ask() -> tuple[float, Version | None, Version | None]:
        versions = Versions(database, Admission(database))
        sa.event.listen(database.engine, "before_cursor_execute", lambda *_: frozen.wait(60))
        first = asyncio.create_task(versions.of("job_1"))
        await asyncio.sleep(SERVED_SECONDS + 0.5)
        began = time.monotonic()
        with pytest.raises(Overloaded):
            await versions.of("job_2")
        refused_within = time.monotonic() - began
        frozen.set()
        return refused_within, await first, await versions.of("job_2")

    refused_within, *found = asyncio.run(ask())
    assert refused_within < 1
    assert None not in found


def test_a_client_that_leaves_takes_nothing_from_the_others(database: Database) -> None:
    async def ask() -> Version | None:
        versions = Versions(database, Admission(database))
        gone, stays = asyncio.create_task(versions.of("job_1")), asyncio.create_task(versions.of("job_1"))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(ask()) is not None


def test_the_right_etag_does_not_open_another_owners_job(each_service: Service) -> None:
    admin, alice, bob = each_service.key("root", "admin"), each_service.key("alice"), each_service.key("bob")
    client = each_service.client
    dataset = client.post("/v1/datasets", files={"file": ("data.zip", b"PK\x05\x06" + bytes(18))}, headers=alice)
    spec = {"kind": "train", "dataset": dataset.json()["id"], "model": {"architecture": "yolov8n"}}
    job_id = client.post("/v1/jobs", json=spec, headers=alice).raise_for_status().json()["id"]
    each_service.settle()
    each_service.bring(job_id, Status.RUNNING)
    etag = client.get(f"/v1/jobs/{job_id}", headers=alice).headers["ETag"]

    statuses = [
        client.get(f"/v1/jobs/{job_id}", headers={**caller, "If-None-Match": tag}).status_code
        for caller in (alice, admin, bob)
        for tag in (etag, "*", 'W/"0"')
    ]

    assert statuses == [304, 304, 200] * 2 + [404] * 3
