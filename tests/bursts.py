"""Send many requests at once, from one thread and over plain sockets: a client library would be the bottleneck.

`python -m tests.bursts PORT...` polls `/healthz` on each port in turn until its input ends, and prints the slowest
response time.
"""

import asyncio
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, method: str, path: str, content: Any, **headers: str) -> "Ask":
        return cls(method, path, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})

    def encode(self, port: int, common: dict[str, str]) -> bytes:
        headers = {"Host": f"127.0.0.1:{port}", "Connection": "close", **common, **self.headers}
        if self.body or self.method != "GET":
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


@dataclass(frozen=True)
class Answer:
    """The response to a request, and the time until it arrived: seconds after all requests were sent."""

    ask: Ask
    status: int  # 0: no response
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def code(self) -> str | None:
        try:
            found: str | None = json.loads(self.body).get("code")
        except (ValueError, AttributeError):
            return None
        return found

    def __str__(self) -> str:
        return f"{self.ask.method} {self.ask.path}: {self.status} after {self.seconds:.2f} s: {self.body[:200]!r}"


def burst(asks: Sequence[Ask], ports: Sequence[int], headers: dict[str, str], patience: float = 120) -> list[Answer]:
    """Send all requests at once, each on a separate connection, to the ports in turn."""
    return asyncio.run(_burst(asks, ports, headers, patience))


async def _burst(asks: Sequence[Ask], ports: Sequence[int], headers: dict[str, str], patience: float) -> list[Answer]:
    opened = [await asyncio.open_connection("127.0.0.1", ports[i % len(ports)]) for i in range(len(asks))]
    began = time.monotonic()

    async def one(number: int) -> Answer:
        ask, (reader, writer) = asks[number], opened[number]
        try:
            async with asyncio.timeout(patience):
                writer.write(ask.encode(ports[number % len(ports)], headers))
                head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        except (OSError, TimeoutError):
            head, body = b"", b""
        took = time.monotonic() - began
        writer.close()
        first, *rest = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        return Answer(ask, int(first.split()[1]) if first else 0, fields, body, took)

    return list(await asyncio.gather(*map(one, range(len(asks)))))


def watch(ports: Sequence[str]) -> float:
    """Poll the health of processes until the input ends; return the slowest response time, seconds."""
    over, slowest = threading.Event(), 0.0
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("begun", flush=True)
    while not over.is_set():
        for port in ports:
            began = time.monotonic()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=120) as answer:
                answer.read()
            slowest = max(slowest, time.monotonic() - began)
        over.wait(0.05)
    return slowest


if __name__ == "__main__":
    print(watch(sys.argv[1:]))
