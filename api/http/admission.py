"""Admission to the database: a bounded queue, then one thread with one connection, never more than there are.

A request that holds a connection (on SQLite the write lock) while it waits for a thread that only other such requests
could free is a deadlock. So only functions that `Admission` runs open transactions in this process: they hold nothing
while they queue, and once admitted keep their thread and connection until they return.

The guard and clients that follow jobs have their own threads, so a burst of requests blocks neither.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from api.db import Database
from api.errors import Overloaded, Unavailable

T = TypeVar("T")

REQUESTS, GUARD, FOLLOWERS = 4, 1, 2  # threads, and so connections, of each kind
LEDGER = 1  # the thread of `api.uploads.ledger`, which renews this process's reservations
CONNECTIONS = REQUESTS + GUARD + FOLLOWERS + LEDGER
WRITERS = {"sqlite": 1}  # concurrent writing requests: SQLite has one write lock
OTHER_WRITERS = 3  # on other databases: one place is left for reads
SERVED_SECONDS = 4.0  # a request is refused at once if those before it are expected to take longer
STUCK_SECONDS = 2.0  # likewise if no request has finished for so long
SHORT, LONGEST = 64, 1000  # queue lengths below which no request is refused, and above which every request is
PATIENCE = 10.0  # longest seconds in the queue, if the estimate was wrong
RESPONSE_SECONDS = 20.0  # the database's time for the first step of a request; a later response is dropped
LONG_PATIENCE = 60.0  # for work that must not be refused: it has begun, or others wait for it


@asynccontextmanager
async def answered_within(seconds: float | None, outcome: str = "") -> AsyncIterator[None]:
    """Limit the time for which the block waits for the database; None: without a limit.

    Raises:
        Unavailable: the database does not respond in time. `outcome` ends the message.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise Unavailable(f"expected a response from the database within {seconds:g} s, got none{outcome}") from None


class Line:
    """A fixed number of places and a first-come, first-served queue, limited to what can be served soon."""

    def __init__(self, places: int) -> None:
        self._free, self._waiting = asyncio.Semaphore(places), 0
        self._left, self._pace = 0.0, 0.0  # time of the last departure, and mean seconds between departures

    def check(self) -> None:
        """Refuse another request if it would wait too long.

        Raises:
            Overloaded: it would.
        """
        if not self._free.locked() or not self._waiting:
            return
        stuck = time.monotonic() - self._left > STUCK_SECONDS
        too_long = self._waiting > SHORT and self._waiting * self._pace > SERVED_SECONDS
        if stuck or too_long or self._waiting >= LONGEST:
            raise Overloaded(f"expected capacity for this request, but {self._waiting} others are waiting before it")

    async def enter(self) -> None:
        """Wait for a place."""
        if not self._free.locked():
            await self._free.acquire()  # does not wait
            self._left = time.monotonic()
            return
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Free the place for the next in the queue."""
        now = time.monotonic()
        if self._waiting:
            self._pace += 0.1 * (now - self._left - self._pace)
        self._left = now
        self._free.release()


class Lane:
    """Threads with one connection each, and the queue for them."""

    def __init__(self, database: Database, places: int, name: str) -> None:
        self._database, self._line = database, Line(places)
        self._threads = ThreadPoolExecutor(places, f"database-{name}")
        self._closed = False

    def check(self) -> None:
        """Refuse another request if it would wait too long; raises `Overloaded`."""
        self._line.check()

    async def run(self, work: Callable[[], T], *lines: Line, refuse: bool = True) -> T:
        """Run `work` in a thread that may open transactions.

        Args:
            work: the function to run; it must end its transactions.
            lines: further queues to pass first, in this order.
            refuse: refuse rather than wait for long.

        Raises:
            Overloaded: too many are waiting.
            Unavailable: the database does not respond in time. Only if `refuse`: later steps of a request clean up
                after a failure, which must not happen while a transaction may still commit.
        """
        lines = (*lines, self._line)
        if refuse:
            for line in lines:
                line.check()
        entered: list[Line] = []

        def leave(_: object = None) -> None:
            for line in reversed(entered):
                line.leave()

        try:
            async with asyncio.timeout(PATIENCE if refuse else LONG_PATIENCE):
                for line in lines:
                    await line.enter()
                    entered.append(line)
            done = asyncio.get_running_loop().run_in_executor(
                self._threads, copy_context().run, self._database.admit, work
            )
        except BaseException as error:
            leave()
            if isinstance(error, TimeoutError):
                raise Overloaded("expected a response from the database in time, got none") from None
            if self._closed and isinstance(error, RuntimeError):  # the process shut down while the request waited
                raise Overloaded(
                    "expected a service that stays up, got one that ends: send the request again"
                ) from None
            raise
        # A cancelled caller does not stop the thread, so its place stays taken until the thread is done.
        done.add_done_callback(leave)
        async with answered_within(
            RESPONSE_SECONDS if refuse else None, ": the requested change may still take effect"
        ):
            return await asyncio.shield(done)

    def close(self) -> None:
        """Stop the threads: finish running work, refuse waiting work."""
        self._closed = True
        self._threads.shutdown()


class Admission:
    """Admits work to the database; used by one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writers = Line(WRITERS.get(database.engine.dialect.name, OTHER_WRITERS))
        self._requests = Lane(database, REQUESTS, "requests")
        self._guard = Lane(database, GUARD, "guard")
        self._followers = Lane(database, FOLLOWERS, "followers")

    async def run(self, work: Callable[[], T], write: bool, refuse: bool = True) -> T:
        """Run a request's database work. Writers first pass a queue of their own.

        Args:
            work: the function to run; a read may be run twice (`Database.read`).
            write: whether it may write.
            refuse: refuse rather than wait for long; False for requests that have begun.

        Raises:
            Overloaded: too many are waiting.
        """
        if write:
            return await self._requests.run(work, self._writers, refuse=refuse)
        return await self._requests.run(partial(self._database.read, work), refuse=refuse)

    def check(self, write: bool) -> None:
        """Refuse, before parsing, a request that would not be admitted to the database.

        Raises:
            Overloaded: too many are waiting.
        """
        if write:
            self._writers.check()
        self._requests.check()

    async def guard(self, work: Callable[[], T]) -> T:
        """Run a small read that every request needs.

        Raises:
            Unavailable: the database does not respond in time.
        """
        async with answered_within(PATIENCE):
            return await self._guard.run(partial(self._database.read, work), refuse=False)

    async def follow(self, work: Callable[[], T]) -> T:
        """Run a read for clients that follow jobs; their number is limited elsewhere."""
        return await self._followers.run(partial(self._database.read, work), refuse=False)

    def close(self) -> None:
        """Stop the threads."""
        for lane in (self._requests, self._guard, self._followers):
            lane.close()
