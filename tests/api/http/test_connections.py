"""Silent and dripping connections, on real sockets: closed in time, and one address leaves room for others."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import uvicorn

from api.http import connections
from api.http.connections import BoundedProtocol
from api.tables.states import Status
from tests.api.conftest import Service, Start
from tests.api.uploads.resumable.test_uploads import begin


@pytest.fixture
def service(start: Start) -> Iterator[Service]:
    with start(body_seconds=1.5, body_bytes_per_second=1000) as running:
        yield running


@pytest.fixture
def port(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 2.0)
    monkeypatch.setattr(connections, "READ_SECONDS", 2.0)
    monkeypatch.setattr(BoundedProtocol, "most", 20)
    monkeypatch.setattr(BoundedProtocol, "most_in_all", 30)
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


@pytest.fixture
def remote(service: Service, port: int) -> Iterator[Service]:
    """The service, asked over the port: its event loop is the server's."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield replace(service, client=client)


def ends(connection: socket.socket, drip: bytes = b"") -> bool:
    """Return whether the other end closes the connection within 15 s, whatever drips into it."""
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
    until_nobody_is_connected()
    assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_all_addresses_together_leave_files_for_the_service(port: int) -> None:
    connections = [
        socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.0.{2 + n % 5}", 0)) for n in range(60)
    ]
    time.sleep(0.5)
    assert BoundedProtocol.held.total() <= 30
    for connection in connections:
        connection.close()
    until_nobody_is_connected()
    assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_one_owner_leaves_connections_to_others(port: int, remote: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(owner: str, scope: str, **headers: str) -> str:
        asked = {"name": "k", "owner": owner, "scope": scope}
        return str(remote.client.post("/v1/api-keys", json=asked, headers=headers).json()["key"])

    admin = key("root", "admin")
    keys = [key(owner, "submit", Authorization=f"Bearer {admin}") for owner in ("ada", "bob")]
    monkeypatch.setattr(BoundedProtocol, "most", 2)

    def validate(address: str, key: str, body: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
        headers = f"Host: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"POST /v1/jobs/validate HTTP/1.1\r\n{headers}Content-Length: 2\r\n\r\n".encode() + body)
        return connection

    begun = [validate(f"127.0.0.{2 + n}", keys[0], b"{") for n in range(2)]
    time.sleep(0.3)
    for address, key, status in (("127.0.0.4", keys[0], b"503"), ("127.0.0.5", keys[1], b"422")):
        with validate(address, key, b"{}") as connection:
            assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 " + status
    for connection in begun:
        connection.close()
    time.sleep(0.3)
    with validate("127.0.0.2", keys[0], b"{}") as connection:  # its places are free again
        assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 422"


@pytest.fixture
def download(remote: Service, tmp_path: Path) -> str:
    """Return the path of a download that no socket's buffers can hold."""
    remote.job()
    held = remote.claim()
    remote.publish(held, 1, bytes(2**24), tmp_path)
    remote.end(held, Status.SUCCEEDED)
    return f"/v1/jobs/{held.id}/weights"


@pytest.mark.slow
@pytest.mark.parametrize("taken", [0, 20], ids=["nothing", "a_drip"])
def test_a_client_that_does_not_read_is_cut_off(port: int, download: str, taken: int) -> None:
    with reader(port, download) as connection:
        deadline = time.monotonic() + 20
        while BoundedProtocol.held and time.monotonic() < deadline:
            time.sleep(0.1)
            if taken:
                connection.recv(taken)
        assert not BoundedProtocol.held


@pytest.mark.slow
def test_a_client_that_reads_slowly_gets_everything(port: int, download: str) -> None:
    got = 0
    with reader(port, download) as connection:
        began = time.monotonic()
        while part := connection.recv(2**14):
            got += len(part)
            if time.monotonic() - began < 6:  # three times as long as a client may take next to nothing
                time.sleep(0.05)
    assert got > 2**24


def reader(port: int, path: str) -> socket.socket:
    """Ask for a download with the smallest of buffers."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
    return connection


def until_nobody_is_connected() -> None:
    deadline = time.monotonic() + 10
    while BoundedProtocol.held and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
def test_requests_one_after_the_other_outlast_the_time(port: int) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(5):
            assert client.get("/healthz").status_code == 200
            time.sleep(0.8)


FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\nPK'
BODIES = {  # method, path, media type, and how the body begins
    "json": ("POST", "/v1/jobs", "application/json", b'{"kind": '),
    "changes": ("PATCH", "/v1/jobs/job_1", "application/json", b"{"),
    "form": ("POST", "/v1/datasets", "multipart/form-data; boundary=x", FORM),
    "piece": ("PATCH", "", "application/offset+octet-stream", b"P"),
}


def begun(port: int, service: Service, kind: str, length: str) -> tuple[socket.socket, str]:
    """Send the headers of a request and the beginning of its body."""
    method, path, media_type, body = BODIES[kind]
    path = path or begin(service)
    headers = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nUpload-Offset: 0\r\n"
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"{headers}{length}\r\n\r\n".encode() + framed(body, length))
    return connection, path


def framed(body: bytes, length: str) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n" if "chunked" in length else body


def answer_within(connection: socket.socket, seconds: float, drip: bytes) -> bytes:
    """Let the body drip, and return the answer; nothing where none comes in time."""
    connection.settimeout(0.2)
    end = time.monotonic() + seconds
    answer = b""
    while time.monotonic() < end:
        try:
            if not answer and drip:
                connection.sendall(drip)
            part = connection.recv(10_000)
        except TimeoutError:
            continue
        except OSError:
            break
        answer += part
        if not part:
            break
    return answer


@pytest.mark.slow
def test_a_body_that_stops_or_drips_is_cut_off(port: int, remote: Service) -> None:
    ways = list(itertools.product(BODIES, ("Content-Length: 5000", "Transfer-Encoding: chunked"), (b"", b" ")))

    def cut_off(way: tuple[str, str, bytes]) -> tuple[bytes, str]:
        kind, length, drip = way
        connection, path = begun(port, remote, kind, length)
        with connection:
            return answer_within(connection, 30, framed(drip, length) if drip else b""), path

    with ThreadPoolExecutor(len(ways)) as threads:  # at once, to spare time
        answers = dict(zip(ways, threads.map(cut_off, ways), strict=True))

    for way, (answer, path) in answers.items():
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408"), (way, answer)
        assert b"connection: close" in head.lower()
        assert b'"code":"body_too_slow"' in body.replace(b": ", b":")
        if way[0] == "piece":  # what has come stays, and nothing holds the file
            there = int(remote.client.head(path).headers["Upload-Offset"])
            assert there >= 1
            more = {"Upload-Offset": str(there), "Content-Type": BODIES["piece"][2]}
            assert remote.client.patch(path, content=b"x", headers=more).status_code == 200
    assert not [name for name in remote.files() if not name.startswith("incoming/upl_")]


@pytest.mark.slow
def test_a_body_that_keeps_its_pace_takes_as_long_as_it_takes(port: int, remote: Service) -> None:
    connection, _ = begun(port, remote, "piece", "Content-Length: 5001")
    with connection:
        for _ in range(10):
            time.sleep(0.35)  # 3.5 s in all, beyond what a body may be behind
            connection.sendall(bytes(500))
        answer = answer_within(connection, 15, b"")

    assert answer.startswith(b"HTTP/1.1 200"), answer
