"""The rule that keeps a burst from locking the service, as a check: who holds a connection waits for nobody."""

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import FastAPIError
from fastapi.routing import APIRoute, iter_route_contexts

from api.db import Database
from api.errors import Overloaded, Unavailable
from api.http import admission
from api.http.admission import CONNECTIONS, LONGEST, REQUESTS, STUCK_SECONDS, Admission
from api.http.dependencies import Work
from api.http.main import create_app
from api.settings import Settings


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/rdrkd.db", admitted=CONNECTIONS)
    yield database
    database.engine.dispose()


def test_a_transaction_is_opened_in_an_admitted_thread_only(database: Database) -> None:
    with pytest.raises(RuntimeError, match="admission"), database.transaction():
        pass

    def nested() -> None:
        with database.transaction(), database.transaction():
            pass

    with pytest.raises(RuntimeError, match="admission"):
        database.admit(nested)


def test_whoever_waits_when_the_service_ends_is_told_to_come_again(database: Database) -> None:
    async def late() -> None:
        admission = Admission(database)
        admission.close()
        for run in (
            lambda: admission.run(int, write=True),
            lambda: admission.guard(int),
            lambda: admission.follow(int),
        ):
            with pytest.raises(Overloaded):
                await run()

    asyncio.run(late())


def test_a_transaction_ends_in_its_thread(database: Database) -> None:
    kept = []

    def leave_open() -> None:
        kept.append(database.transaction())
        kept[0].__enter__()

    with pytest.raises(RuntimeError, match="still open"):
        database.admit(leave_open)
    kept[0].__exit__(None, None, None)


def test_work_needs_its_route() -> None:
    def endpoint(work: Work) -> None: ...

    with pytest.raises(FastAPIError):
        APIRouter().add_api_route("/x", endpoint)


def test_no_dependency_takes_a_thread_of_its_own(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    found = {
        each.call.__qualname__
        for route in routes(app)
        for each in dependencies(route.dependant)
        if inspect.isgeneratorfunction(each.call) or (inspect.isfunction(each.call) and not is_async(each.call))
    }

    assert len(list(routes(app))) > 50
    assert not found


def is_async(call: object) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


def routes(app: FastAPI) -> Iterator[APIRoute]:
    for each in iter_route_contexts(app.routes):
        if isinstance(each.original_route, APIRoute):
            yield each.original_route


def dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from dependencies(each)


async def held(
    admission: Admission, number: int, write: bool = False
) -> tuple[threading.Event, list[asyncio.Task[None]]]:
    """Let work in that lasts until the event is set."""
    over = threading.Event()

    def work() -> None:
        assert over.wait(60)

    tasks = [asyncio.create_task(admission.run(work, write)) for _ in range(number)]
    await asyncio.sleep(0.1)
    return over, tasks


def test_more_than_can_be_served_are_refused_at_once_and_those_in_line_are_served(database: Database) -> None:
    async def crowd() -> None:
        admission = Admission(database)
        over, tasks = await held(admission, REQUESTS + LONGEST)
        began = time.monotonic()
        with pytest.raises(Overloaded) as refused:
            await admission.run(lambda: None, write=False)
        assert refused.value.headers["Retry-After"] == "1"
        assert time.monotonic() - began < 10  # at once, on a machine that does other things, too
        over.set()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), Overloaded}  # on a slow machine some are refused earlier
        assert ends.count(None) >= REQUESTS
        admission.close()

    asyncio.run(crowd())


def test_those_who_write_leave_a_place_to_those_who_read_and_the_guard_waits_for_neither(database: Database) -> None:
    async def crowd() -> None:
        admission = Admission(database)
        over, tasks = await held(admission, 20, write=True)
        assert await asyncio.wait_for(admission.run(lambda: "read", write=False), 30) == "read"
        more, others = await held(admission, 20)
        assert await asyncio.wait_for(admission.guard(lambda: "known"), 30) == "known"
        over.set()
        more.set()
        await asyncio.gather(*tasks, *others)
        admission.close()

    asyncio.run(crowd())


def test_a_place_is_free_again_when_its_work_ends_not_when_its_client_leaves(database: Database) -> None:
    async def crowd() -> None:
        admission = Admission(database)
        over, tasks = await held(admission, REQUESTS)
        for task in tasks:
            task.cancel()
        waiting = asyncio.create_task(admission.run(lambda: "in", write=False))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        over.set()
        assert await asyncio.wait_for(waiting, 30) == "in"
        admission.close()

    asyncio.run(crowd())


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_nobody_waits_for_a_database_that_does_not_respond(
    database: Database, monkeypatch: pytest.MonkeyPatch, write: bool
) -> None:
    monkeypatch.setattr(admission, "RESPONSE_SECONDS", 0.5)
    frozen = threading.Event()

    async def ask() -> None:
        places = Admission(database)
        with pytest.raises(Unavailable, match=r"within 0\.5 s"):
            await asyncio.wait_for(places.run(lambda: frozen.wait(30), write), 10)
        begun = asyncio.create_task(places.run(lambda: frozen.wait(30), write, refuse=False))
        await asyncio.sleep(1)
        assert not begun.done()  # it would clean up after a transaction that may still commit
        frozen.set()
        assert await begun
        assert await places.run(lambda: True, write)  # the place of the first is free again

    asyncio.run(ask())


def test_nor_does_anybody_wait_for_the_guard(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE", 0.5)
    frozen = threading.Event()

    async def ask() -> None:
        places = Admission(database)
        asked = [places.guard(lambda: frozen.wait(30)) for _ in range(3)]  # one is served, two are in line
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
        assert [type(answer) for answer in answers] == [Unavailable] * 3
        frozen.set()
        assert await places.guard(lambda: True)

    asyncio.run(ask())


def test_transactions_of_two_processes_that_read_and_then_write_both_stand(tmp_path: Path) -> None:
    """Without the write lock at their beginning, one of them may fail or undo what the other one did."""
    url = f"sqlite:///{tmp_path}/rdrkd.db"
    one, other = Database(url), Database(url)
    with one.transaction() as session:
        session.execute(sa.text("CREATE TABLE counted (number INTEGER)"))
        session.execute(sa.text("INSERT INTO counted VALUES (0)"))

    def count(database: Database) -> None:
        for _ in range(50):
            with database.transaction(write=True) as session:
                number = session.scalar(sa.text("SELECT number FROM counted"))
                session.execute(sa.text("UPDATE counted SET number = :number"), {"number": number + 1})

    threads = [threading.Thread(target=count, args=(each,)) for each in (one, other) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with one.transaction() as session:
        assert session.scalar(sa.text("SELECT number FROM counted")) == 200
    one.engine.dispose()
    other.engine.dispose()


def test_whoever_is_refused_costs_no_parsing_and_holds_up_no_probe(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, token="t" * 32))
    over = threading.Event()

    async def ask() -> tuple[httpx2.Response, httpx2.Response]:
        busy = [asyncio.create_task(app.state.admission.run(over.wait, write=False)) for _ in range(REQUESTS + 1)]
        await asyncio.sleep(STUCK_SECONDS + 0.5)
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 1))
        headers = {"Authorization": f"Bearer {'t' * 32}", "Content-Type": "application/json"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            answers = await client.post("/v1/jobs", content=b"{"), await client.get("/healthz")
        over.set()
        await asyncio.gather(*busy)
        return answers

    refused, alive = asyncio.run(ask())

    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")  # not malformed_json: nothing was read
    assert int(refused.headers["Retry-After"]) >= 1
    assert alive.status_code == 200
