"""What a call wants of the world, as values: the calls are written once, and a driver performs them, sync or async."""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

T = TypeVar("T")
CHUNK = 2**20  # bytes of a file in memory at once
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Piece:
    """Part of a file as a request's body: from `offset` to its end at `length`."""

    file: IO[bytes]
    offset: int
    length: int
    progress: Progress | None = None


@dataclass(frozen=True)
class Ask:
    """One request. `sink` is given status and headers of a 2xx, and says where its body goes; else it is kept."""

    method: str
    path: str
    json: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)
    piece: Piece | None = None
    sink: Callable[[int, Headers], IO[bytes]] | None = None
    progress: Callable[[int], None] | None = None  # (bytes of the body so far), with a sink


@dataclass(frozen=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """What came back; `content` is empty where a sink took it."""

    status: int
    headers: Headers
    content: bytes

    def json(self) -> Any:
        """Read the body."""
        return json.loads(self.content)


def elsewhere(wish: Ask, status: int, headers: Headers) -> tuple[str, Headers] | None:
    """Return where the service sends a download on to, and with which headers; None: it answers itself.

    The address needs no key, and gets none. A part is asked for only where the file is still the one it belongs to:
    the service's ETag tells, since that of a bucket is another.
    """
    if status != 307 or wish.method != "GET" or "location" not in headers:
        return None
    going_on = "Range" in wish.headers and wish.headers.get("If-Range") == headers.get("etag")
    return headers["location"], {"Accept-Encoding": "identity"} | ({"Range": wish.headers["Range"]} if going_on else {})


class Broken(Exception):
    """The connection failed, or broke while it carried something; thrown into the call that asked."""


Call = Generator[Ask | Sleep, Any, T]  # gets an `Answer` for an `Ask`, None for a `Sleep`
