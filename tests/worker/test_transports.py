"""The broker in a SQLite file: a poll of a queue that nobody has written to costs nothing, and no ring is missed."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu.connection import Connection
from sqlalchemy import event

from worker import transports


@pytest.fixture
def channels(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Two channels of the same broker, as two processes have them."""
    transports.SqlChannel._engines.clear()
    with ExitStack() as stack:
        opened = []
        for _ in range(2):
            transports.SqlChannel._engines.clear()  # each has its own connections
            connection = Connection(f"sqla+sqlite:///{tmp_path}/broker.db")  # type: ignore[no-untyped-call]
            connection.transport_cls = transports.Sql
            stack.enter_context(connection)
            opened.append(stack.enter_context(connection.channel()))  # type: ignore[no-untyped-call]
            opened[-1]._new_queue("train")
        yield opened[0], opened[1]


def taken(channel: Any) -> list[Any]:
    found = []
    while True:
        try:
            found.append(channel._get("train")["n"])
        except Empty:
            return found


def test_an_idle_poll_asks_nothing_and_hears_every_ring(channels: tuple[Any, Any]) -> None:
    worker, service = channels
    asked = []
    event.listen(worker.session.bind, "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert taken(worker) == []

    for n in range(5):
        asked.clear()
        for _ in range(20):
            assert taken(worker) == []
        assert not asked  # neither a query nor the write lock
        service._put("train", {"n": n})
        service._put("train", {"n": -n})
        assert taken(worker) == [n, -n]
        assert taken(worker) == []


def test_what_was_put_by_the_same_connection_is_heard(channels: tuple[Any, Any]) -> None:
    worker, _ = channels
    assert taken(worker) == []
    worker._put("train", {"n": 1})
    assert taken(worker) == [1]
