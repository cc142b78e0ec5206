"""Close connections that send nothing, send or read too slowly, and limit each address to half of all connections.

uvicorn waits for the headers of a request, and for a client to read its response, without end. An open connection costs
a file of the process, and a download a second one.
"""

import asyncio
import fcntl
import resource
import struct
import termios
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0  # from the connection, or the previous response's end, to the end of a request's headers
READ_SECONDS = 60.0  # in which a client must read part of a pending response
READ_BYTES_PER_SECOND = 1000  # least average rate at which it must read
MOST_FILES = 65_536  # requested by the process, if its hard limit allows it
FILES_KEPT = 128  # for the database, modules, logs: not available to connections
FILES_OF_ONE = 2  # files of a connection: its socket, and what it downloads or uploads


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, with times to send headers and to read responses, and a limit of connections."""

    most: ClassVar[int] = 512  # connections of one address
    most_in_all: ClassVar[int] = 1024
    held: ClassVar[Counter[str]] = Counter()  # connections by address

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, unless its address already has its share, or all are taken."""
        super().connection_made(transport)
        self._address = (self.client or ("",))[0]
        held = BoundedProtocol.held
        held[self._address] += 1
        self._headers_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None
        if held[self._address] > BoundedProtocol.most or held.total() > BoundedProtocol.most_in_all:
            transport.abort()
        else:
            self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Process data; once the request is known, stop the headers' timer."""
        super().data_received(data)
        self._known()

    def on_response_complete(self) -> None:
        """Restart the headers' timer for the next request."""
        self._wait_for_headers()
        super().on_response_complete()  # may read a pipelined request
        self._known()

    def pause_writing(self) -> None:
        """Pause the response: the client is behind, and its time to catch up starts."""
        super().pause_writing()
        self._wait_for_reading()

    def resume_writing(self) -> None:
        """Resume the response."""
        self._stop_waiting_for_reading()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._headers_due is not None:
            self._headers_due.cancel()
        self._stop_waiting_for_reading()
        BoundedProtocol.held[self._address] -= 1
        if BoundedProtocol.held[self._address] <= 0:
            del BoundedProtocol.held[self._address]
        super().connection_lost(exc)

    def _known(self) -> None:
        """Stop the timer once a request's headers are complete: its processing has no limit here."""
        cycle: Any = self.cycle  # none before the first request, whatever its type says
        if cycle is not None and not cycle.response_complete and self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _wait_for_headers(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
        self._headers_due = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _wait_for_reading(self) -> None:
        self._stop_waiting_for_reading()
        self._reading_due = self.loop.call_later(READ_SECONDS, self._check_reading, _untaken(self.transport))

    def _stop_waiting_for_reading(self) -> None:
        if self._reading_due is not None:
            self._reading_due.cancel()
            self._reading_due = None

    def _check_reading(self, before: int) -> None:
        """Close the connection if its client has read too little of the pending data, to which nothing was added."""
        if before - _untaken(self.transport) < READ_SECONDS * READ_BYTES_PER_SECOND:
            self.transport.abort()
        else:
            self._wait_for_reading()


def _untaken(transport: Any) -> int:
    """Return how many bytes the client has not acknowledged, in this process and in the kernel."""
    try:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # closed, or a system that does not count them
        queued = bytes(4)
    return int(transport.get_write_buffer_size()) + int(struct.unpack("i", queued)[0])


def raise_limits() -> None:
    """Raise the limit of open files as far as allowed, and limit connections so that they never take all of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = MOST_FILES if soft == resource.RLIM_INFINITY else soft
    BoundedProtocol.most_in_all = max(64, (files - FILES_KEPT) // FILES_OF_ONE)
    BoundedProtocol.most = max(32, BoundedProtocol.most_in_all // 2)
