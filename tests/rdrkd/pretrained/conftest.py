"""A server of official weights on loopback that misbehaves on request."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Source:
    """What is served, and how; `asked` counts requests."""

    content: bytes = b""
    status: int = 200
    location: str | None = None
    announced: int | None = None  # Content-Length; None: that of the content; negative: none
    fails: int = 0  # first answers, which are 503
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def source() -> Iterator[Source]:
    served = Source()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            failing = len(served.asked) <= served.fails
            self.send_response(503 if failing else served.status)
            if served.location is not None:
                self.send_header("Location", served.location)
            length = len(served.content) if served.announced is None else served.announced
            if length >= 0:
                self.send_header("Content-Length", str(0 if failing else length))
            self.end_headers()
            if not failing:
                self.wfile.write(served.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/weights"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield served
        server.shutdown()
