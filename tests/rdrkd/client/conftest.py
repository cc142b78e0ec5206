"""A service on a real port, hands of a worker, and a way to it that breaks."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.http.main import create_app
from api.settings import Settings
from rdrkd.client import Client
from tests.api.conftest import Service, listening, migrated

__all__ = ["migrated"]


@dataclass
class Live(Service):
    """A service that listens."""

    url: str = ""

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)


@contextmanager
def begin(data_dir: Path, **settings: object) -> Iterator[Live]:
    """Start a service on a folder, with settings of one's own."""
    app = create_app(Settings(**({"data_dir": data_dir, "broker_url": "memory://"} | settings)))
    with listening(app) as running:
        yield Live(app, running.client, running.database, running.storage, str(running.client.base_url))


@pytest.fixture
def live(tmp_path: Path, migrated: Path) -> Iterator[Live]:
    (tmp_path / "live").mkdir()
    shutil.copy(migrated, tmp_path / "live" / "rdrkd.db")
    with begin(tmp_path / "live") as running:
        yield running


@pytest.fixture
def service(live: Live) -> Iterator[Client]:
    with Client(live.url) as client:
        yield client


class Breaking:
    """A way to a service that cuts each connection once `limit` bytes have gone either way; None: it holds."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target, self.limit, self.cuts = target, None, 0
        self.seen: bytearray | None = None  # what clients have sent, if it is to be looked at
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                upstream = socket.create_connection(self._target)
                threading.Thread(target=self._join, args=(client, upstream), daemon=True).start()

    def _join(self, client: socket.socket, upstream: socket.socket) -> None:
        with client, upstream:
            back = threading.Thread(target=self._pump, args=(upstream, client), daemon=True)
            back.start()
            self._pump(client, upstream, self.seen)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, seen: bytearray | None = None) -> None:
        done, limit = 0, self.limit
        with suppress(OSError):
            while data := source.recv(65536):
                if seen is not None:
                    seen += data
                if limit is not None and done + len(data) > limit:
                    sink.sendall(data[: limit - done])
                    time.sleep(0.05)  # what was sent arrives before the cut
                    self.cuts += 1
                    break
                sink.sendall(data)
                done += len(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def breaking(live: Live) -> Iterator[Breaking]:
    way = Breaking(live.address)
    yield way
    way.close()


@pytest.fixture
def large(tmp_path: Path) -> Callable[[str, int], Path]:
    """Write a file whose every megabyte differs."""

    def write(name: str, megabytes: int) -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            for number in range(megabytes):
                file.write(number.to_bytes(4, "big") * 2**18)
        return path

    return write
