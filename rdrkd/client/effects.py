"""The effects of a call, as values: each call is written once, and a sync or async driver performs its effects."""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

T = TypeVar("T")
CHUNK = 2**20  # bytes of a file in memory at once
Progress = Callable[[int, int], None]  # (bytes done, total bytes)
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Piece:
    """The rest of a file as a request's body: from `offset` to its end at `length`."""

    file: IO[bytes]
    offset: int
    length: int
    progress: Progress | None = None


@dataclass(frozen=True)
class Ask:
    """One request; `sink`, if any, takes status and headers of a 2xx, and returns the file for its body."""

    method: str
    path: str
    json: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)
    piece: Piece | None = None
    sink: Callable[[int, Headers], IO[bytes]] | None = None
    progress: Callable[[int], None] | None = None  # takes the bytes of the body so far; with a sink


@dataclass(frozen=True)
class Sleep:
    """A pause."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """The response; `content` is empty if a sink took it."""

    status: int
    headers: Headers
    content: bytes

    def json(self) -> Any:
        """Read the body."""
        return json.loads(self.content)


def elsewhere(wish: Ask, status: int, headers: Headers) -> tuple[str, Headers] | None:
    """Return the URL to which the service redirects a download, and the headers to send; None without a redirect.

    The URL needs no key, and gets none. A range is requested only if the file has not changed: the service's ETag shows
    that, because a bucket's ETag is different.
    """
    if status != 307 or wish.method != "GET" or "location" not in headers:
        return None
    resuming = "Range" in wish.headers and wish.headers.get("If-Range") == headers.get("etag")
    return headers["location"], {"Accept-Encoding": "identity"} | ({"Range": wish.headers["Range"]} if resuming else {})


class Broken(Exception):
    """The connection failed, or broke during a transfer; thrown into the call that sent the request."""


Call = Generator[Ask | Sleep, Any, T]  # is sent an `Answer` for an `Ask`, None for a `Sleep`
