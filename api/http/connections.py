"""Connections that send nothing, or drip, are closed in time, and no address holds more than half of all.

uvicorn waits for the headers of a request without end, and an open connection costs a file of the process.
"""

import asyncio
import resource
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0  # from a connection, or the end of the answer before, to the end of a request's headers
MOST_FILES = 65_536  # that the process asks for, where its hard limit lets it


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, with a time for headers and a share of the connections for each address."""

    most: ClassVar[int] = 512  # connections of one address
    held: ClassVar[Counter[str]] = Counter()  # connections by address

    def connection_made(self, transport: Any) -> None:
        """Take a connection, unless its address has its share already."""
        super().connection_made(transport)
        self._address = (self.client or ("",))[0]
        BoundedProtocol.held[self._address] += 1
        self._headers_due: asyncio.TimerHandle | None = None
        if BoundedProtocol.held[self._address] > BoundedProtocol.most:
            transport.abort()
        else:
            self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Read on; the time for the headers is over once the request is known."""
        super().data_received(data)
        self._known()

    def on_response_complete(self) -> None:
        """Answered: the next request has its time from here."""
        self._wait_for_headers()
        super().on_response_complete()  # may read a pipelined request
        self._known()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._headers_due is not None:
            self._headers_due.cancel()
        BoundedProtocol.held[self._address] -= 1
        if BoundedProtocol.held[self._address] <= 0:
            del BoundedProtocol.held[self._address]
        super().connection_lost(exc)

    def _known(self) -> None:
        """Stop the time once a request's headers are there: what answers it takes as long as it takes."""
        cycle: Any = self.cycle  # none before the first request, whatever its type says
        if cycle is not None and not cycle.response_complete and self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _wait_for_headers(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
        self._headers_due = self.loop.call_later(HEADER_SECONDS, self.transport.abort)


def raise_limits() -> None:
    """Let the process have as many open files as it may, and each address half of them as connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    BoundedProtocol.most = max(64, (MOST_FILES if soft == resource.RLIM_INFINITY else soft) // 2)
