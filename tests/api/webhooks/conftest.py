"""A receiver that listens on this machine, and a sender that may call it."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from api.webhooks.client import SECONDS, Answer, Client
from api.webhooks.resolver import Resolver
from api.webhooks.sender import Sender
from tests.api.conftest import Service

INSIDE = {"webhooks_allow_http": True, "webhooks_allow_private": True, "webhooks_retry_seconds": 0.01}


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of connections that break off: some tests break them off."""


@dataclass
class Receiver:
    """An HTTP server that remembers what came, and answers as it is told."""

    answers: list[int] = field(default_factory=list)  # statuses, one a request; then 200
    delay: float = 0  # seconds before the answer
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def start(self, tls: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came.append((dict(self.headers.items()), body))
                time.sleep(receiver.delay)
                status = receiver.answers.pop(0) if receiver.answers else 200
                self.send_response(status)
                if status in (301, 307):
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/hook"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            self.url = f"https://localhost:{server.server_port}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    server = receiver.start()
    yield receiver
    server.shutdown()
    server.server_close()


MakeSender = Callable[..., Sender]


@pytest.fixture
def sender() -> Iterator[MakeSender]:
    """Make a sender on a service's database; the service may call this machine, too, from then on."""
    made: list[Sender] = []

    def make(service: Service, resolver: Resolver | None = None, **changes: Any) -> Sender:
        settings = service.app.state.settings.model_copy(update=INSIDE | changes)
        service.app.state.settings = settings
        made.append(Sender(settings, resolver))
        return made[-1]

    yield make
    for sender in made:
        sender.database.engine.dispose()


def everything(sender: Sender) -> None:
    """Send all that is due now."""
    sender.send_due()


def post(
    url: str,
    *,
    http: bool = True,
    private: bool = True,
    seconds: float = SECONDS,
    secrets: Sequence[str] = ("whsec_c2VjcmV0",),
    resolver: Resolver | None = None,
) -> Answer:
    """Send one message."""
    client = Client(http=http, private=private, resolver=resolver or Resolver(), seconds=seconds)
    return asyncio.run(client.send(url, "msg_1", "{}", secrets))


@pytest.fixture
def silent() -> Iterator[Resolver]:
    """A resolver whose name server takes questions and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield Resolver(["127.0.0.1"], server.getsockname()[1])
