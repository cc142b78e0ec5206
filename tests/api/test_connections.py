"""Silent and dripping connections, on real sockets: closed in time, and one address leaves room for others."""

import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
import uvicorn

from api import connections
from api.connections import BoundedProtocol
from tests.api.conftest import Service


@pytest.fixture
def port(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 2.0)
    monkeypatch.setattr(BoundedProtocol, "most", 20)
    config = uvicorn.Config(
        service.app, http=BoundedProtocol, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"
    )
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join(20)


def ends(connection: socket.socket, drip: bytes = b"") -> bool:
    """Say whether the other end closes the connection within 15 s, whatever drips into it."""
    connection.settimeout(0.5)
    began = time.monotonic()
    while time.monotonic() - began < 15:
        try:
            if drip:
                connection.sendall(drip)
            if connection.recv(1000) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\n"])
@pytest.mark.parametrize("drip", [b"", b"X-A: b\r\n"])
def test_headers_have_their_time(port: int, sent: bytes, drip: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        assert ends(connection, drip if sent else b"")


def test_the_next_request_has_its_time_too(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert ends(connection, b"X-A: b\r\n")


def test_an_address_has_its_share_and_gets_it_back(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    time.sleep(0.5)
    assert BoundedProtocol.held["127.0.0.1"] <= 20
    for connection in silent:
        connection.close()
    deadline = time.monotonic() + 10
    while BoundedProtocol.held and time.monotonic() < deadline:
        time.sleep(0.05)
    assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_requests_one_after_the_other_outlast_the_time(port: int) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(5):
            assert client.get("/healthz").status_code == 200
            time.sleep(0.8)
