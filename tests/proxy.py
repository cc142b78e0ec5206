"""A proxy in front of PostgreSQL that loses the response to a COMMIT: the rows are committed, unknown to the client."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa


class Proxy:
    """Forward bytes; cut the connection before the COMMIT's response in the first transaction that has sent `words`."""

    def __init__(self, url: str, words: bytes, then: Callable[[], None]) -> None:
        """Listen for the server of `url`; `then` is called between the commit and the cut."""
        target = sa.make_url(url)
        self._upstream = f"{target.query['host']}/.s.PGSQL.{target.port or 5432}"
        self._words, self._then = words, then
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = target.set(host="127.0.0.1", port=self._server.getsockname()[1], query={}).render_as_string(False)
        self.lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._upstream)
                pipe = _Pipe(self, client, server)
                threading.Thread(target=pipe.forth, daemon=True).start()
                threading.Thread(target=pipe.back, daemon=True).start()

    def is_to_be_lost(self, seen: bytes) -> bool:
        return self._words in seen and b"COMMIT" in seen[seen.index(self._words) :] and not self.lost.is_set()

    def lose(self) -> None:
        self.lost.set()
        self._then()


class _Pipe:
    """One connection, in both directions."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._seen = b""
        self._losing = False

    def forth(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(2**16):
                self._seen = (b"" if b"BEGIN" in data else self._seen) + data
                self._losing = self._proxy.is_to_be_lost(self._seen)
                self._server.sendall(data)
        self._cut()

    def back(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(2**16):
                if self._losing and b"COMMIT" in data:
                    self._proxy.lose()
                    break
                self._client.sendall(data)
        self._cut()

    def _cut(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def losing(url: str, words: bytes, then: Callable[[], None]) -> Iterator[Proxy]:
    proxy = Proxy(url, words, then)
    try:
        yield proxy
    finally:
        proxy.close()
