"""The health check of a worker: alive, and connected to its broker."""

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from worker.health import complaint, is_connected


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
