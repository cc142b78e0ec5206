"""A receiver of webhooks that remembers, and that sometimes fails or dawdles."""

import json
import random
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A message that was taken."""

    message: str  # its id: the same at each attempt
    event: str
    about: str  # id of the job or study


class Receiver:
    """An HTTP server on loopback."""

    def __init__(self, rng: random.Random) -> None:
        self.taken: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                luck = rng.random()
                if luck < 0.03:
                    time.sleep(2)
                taken = luck < 0.9
                if taken:  # before the answer: it may be lost, and then the message comes again
                    told = Received(self.headers["webhook-id"], body["type"], body["data"]["id"])
                    receiver.taken.append(told)
                self.send_response(200 if taken else 500)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing of connections that break off: they are meant to."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
