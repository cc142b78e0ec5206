"""The service as a process: how it starts, refuses to start, takes uploads from sockets, and stops."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from api.__main__ import main

MIB = 2**20


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RDRKD_")}
    return (
        clean | {"RDRKD_DATA_DIR": str(data_dir)} | {f"RDRKD_{name.upper()}": value for name, value in settings.items()}
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_listening(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[psutil.Process, int, Path]]:
    """A process that listens, its port and its data."""
    data_dir, port = tmp_path_factory.mktemp("server") / "var", free_port()
    env = environment(data_dir, port=str(port))
    with subprocess.Popen([sys.executable, "-m", "api"], env=env, stderr=subprocess.PIPE) as process:
        await_listening(port)
        yield psutil.Process(process.pid), port, data_dir
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30)[1].decode()
    assert process.returncode in (0, -signal.SIGTERM), log
    assert "Application shutdown complete" in log
    assert "Traceback" not in log


def incoming(data_dir: Path) -> list[Path]:
    return list((data_dir / "storage" / "incoming").glob("*"))


def send(port: int, size: int, stop_after: int | None = None) -> bytes:
    """Upload a dataset of `size` bytes from a socket; break off after `stop_after` bytes."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
    tail = b"\r\n--x--\r\n"
    length = len(head) + size + len(tail)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Connection: close\r\nContent-Length: " + str(length).encode() + b"\r\n\r\n" + head
        )
        for _ in range((stop_after if stop_after is not None else size) // MIB):
            connection.sendall(bytes(MIB))
        if stop_after is not None:
            return b""
        connection.sendall(tail)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


@pytest.mark.slow
def test_memory_stays_flat_while_an_upload_streams(server: tuple[psutil.Process, int, Path]) -> None:
    process, port, data_dir = server
    send(port, MIB)
    before = process.memory_info().rss

    answer = send(port, 96 * MIB)

    assert b" 202 " in answer.splitlines()[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["size"] == 96 * MIB
    assert process.memory_info().rss - before < 32 * MIB
    assert incoming(data_dir) == []


def test_a_client_that_hangs_up_leaves_nothing(server: tuple[psutil.Process, int, Path]) -> None:
    _, port, data_dir = server
    stored = len(list((data_dir / "storage").rglob("*.zip")))

    send(port, 8 * MIB, stop_after=4 * MIB)

    deadline = time.monotonic() + 20
    while incoming(data_dir) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert incoming(data_dir) == []
    assert len(list((data_dir / "storage").rglob("*.zip"))) == stored
    assert b" 202 " in send(port, MIB).splitlines()[0]


@pytest.mark.slow
def test_a_request_that_outlasts_the_shutdown_gets_an_honest_503(tmp_path: Path) -> None:
    port = free_port()
    env = environment(tmp_path / "var", port=str(port), stop_grace_seconds="1")
    with subprocess.Popen([sys.executable, "-m", "api"], env=env, stderr=subprocess.PIPE) as process:
        await_listening(port)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            time.sleep(1)  # the request is being read when the signal comes
            process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        process.communicate(timeout=60)
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b"retry-after:" in answer.lower()
    assert b'"code":"unavailable"' in answer.replace(b" ", b"")


def test_the_embedded_service_migrates_by_itself(server: tuple[psutil.Process, int, Path]) -> None:
    _, port, _ = server

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as response:
        assert json.load(response)["status"] == "ready"


@pytest.mark.slow
def test_migrate_is_a_command_of_its_own(tmp_path: Path) -> None:
    result = run("-m", "api", "migrate", env=environment(tmp_path / "var"))

    assert result.returncode == 0, result.stderr
    assert "Running upgrade  -> 0001" in result.stderr
    assert (tmp_path / "var" / "rdrkd.db").exists()


@pytest.mark.slow
def test_the_service_loads_only_what_its_lock_has() -> None:
    program = """
import sys
before = set(sys.modules)  # what an installation's own hooks load
import pkgutil, api
for module in pkgutil.walk_packages(api.__path__, "api."):
    if not module.name.startswith("api.migrations."):
        __import__(module.name)
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
    lock = (Path(__file__).parents[2] / "requirements" / "service.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE)) | {"rdrkd"}
    locked |= {"cffi"}  # billiard tries it, and does without; the tests' S3 server brings it here
    locked |= {"greenlet"}  # so does SQLAlchemy, for its asyncio form; the tests' browser driver brings it here
    owners = metadata.packages_distributions()

    loaded = run("-c", program, env=dict(os.environ))
    foreign = {
        module
        for module in loaded.stdout.split()
        if module in owners and not {re.sub(r"[-_.]+", "-", name).lower() for name in owners[module]} & locked
    }

    assert loaded.returncode == 0, loaded.stderr
    assert {"api", "fastapi", "sqlalchemy"} <= set(loaded.stdout.split())
    assert not foreign


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Set the environment of the command."""

    def set_up(**settings: str) -> None:
        for name in [name for name in os.environ if name.startswith("RDRKD_")]:
            monkeypatch.delenv(name)
        for name, value in environment(tmp_path / "var", **settings).items():
            monkeypatch.setenv(name, value)

    return set_up


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gpu.example"])
def test_without_a_token_it_refuses_to_listen_beyond_loopback(
    set_up: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path, host: str
) -> None:
    set_up(host=host)

    assert main(["serve"]) == 2
    complaint = capsys.readouterr().err
    assert "RDRKD_TOKEN" in complaint
    assert host in complaint
    assert not (tmp_path / "var").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [({"port": "x"}, "port"), ({"token": ""}, "empty"), ({"token_file": "/nowhere"}, "/nowhere")],
)
def test_wrong_settings_are_told_in_a_sentence(
    set_up: Callable[..., None], capsys: pytest.CaptureFixture[str], settings: dict[str, str], words: str
) -> None:
    set_up(**settings)

    assert main([]) == 2
    assert words in capsys.readouterr().err
