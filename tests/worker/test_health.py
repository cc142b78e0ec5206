"""The health check of a worker: alive, and connected to its broker."""

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from api.queue import TRAIN
from api.workers import service
from tests.worker.conftest import until
from worker.health import complaint, is_connected, own_complaint
from worker.presence import Beating
from worker.workplace import Workplace


@pytest.fixture
def broker() -> Iterator[socket.socket]:
    """A listener that stands where a broker would: the check looks at sockets only."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url(broker: socket.socket) -> str:
    return f"redis://127.0.0.1:{broker.getsockname()[1]}/0"


def test_connection_is_seen_and_its_loss_too(broker: socket.socket) -> None:
    this = psutil.Process(os.getpid())
    assert not is_connected(this, url(broker))
    with socket.create_connection(broker.getsockname()):
        assert is_connected(this, url(broker))
        assert complaint([this], url(broker)) is None
    assert complaint([this], url(broker)) == f"no connection to the broker: process [{os.getpid()}]"


def test_broker_that_is_a_file_needs_no_connection() -> None:
    assert is_connected(psutil.Process(os.getpid()), "sqla+sqlite:///broker.db")


def test_no_process_is_a_complaint() -> None:
    assert complaint([], "sqla+sqlite:///broker.db") == "no worker process runs"


def test_what_a_worker_says_of_itself_is_a_complaint(place: Workplace) -> None:
    url = place.settings.database_url
    with Beating(place, TRAIN):
        until(lambda: _there(place))
        assert own_complaint([place.name], url) is None
        place.condition.complaint = "expected room, got none"
        until(lambda: own_complaint([place.name], url) == f"{place.name}: expected room, got none")
        assert own_complaint(["another:1"], url) is None


def _there(place: Workplace) -> bool:
    with place.database.transaction() as session:
        return bool(service.present(session))


def test_a_database_that_is_away_is_no_fault_of_the_worker() -> None:
    assert own_complaint(["here:1"], "postgresql+psycopg://x:y@127.0.0.1:1/none") is None
