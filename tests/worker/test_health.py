"""The health check of a worker: alive, and connected to its broker."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from api.jobs.workers import service
from api.wake_ups import TRAIN
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


SEALED = """
import os, socket, sys, time
import psutil
from rdrkd.process.secret_hiding import seal
from worker.health import complaint
port, connects = int(sys.argv[1]), sys.argv[2] == "connects"
ready, say = os.pipe()
socket.getaddrinfo("127.0.0.1", port)  # a module that another user may not be able to read
worker = os.fork()
held = connects and not worker and socket.create_connection(("127.0.0.1", port))
if os.geteuid() == 0:
    os.setuid(65534)
if not worker:
    seal()
    os.write(say, b"x")
    time.sleep(60)
os.close(say)
os.read(ready, 1)
try:
    print(complaint([psutil.Process(worker)], f"redis://127.0.0.1:{port}/0"))
finally:
    os.kill(worker, 9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["connects", "is deaf"])
def test_a_sealed_worker_is_seen_by_its_own_user(broker: socket.socket, what: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", SEALED, str(broker.getsockname()[1]), what],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    assert told.startswith("None" if what == "connects" else "no connection to the broker"), told


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
