"""Hold a row while a child process works on it: renew the lease, watch for orders to stop, fence every write.

A failed heartbeat does not fail the job: while the database does not respond, the child continues until the lease and
the grace period have expired. A fenced worker kills its child at once and writes nothing more.
"""

import logging
import math
import sqlite3
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.tables.leases import Fenced, Wish
from worker.background import Background
from worker.process import Child
from worker.workplace import Workplace

log = logging.getLogger(__name__)
T = TypeVar("T")
Renew = Callable[[Session, float | None], Wish | None]  # (session, lease seconds or None) -> the owner's request


class Order(StrEnum):
    """Why the work must stop early."""

    CANCEL = "cancel"  # requested by the owner
    PAUSE = "pause"  # requested by the owner
    DEADLINE = "deadline"  # the job's deadline has passed
    TIMEOUT = "timeout"  # the attempt has used up its wall time
    DRAIN = "drain"  # the worker is being shut down
    OUTAGE = "outage"  # the database has been unreachable for longer than the lease and its grace period
    FENCED = "fenced"  # another attempt holds the row


_AT_ONCE = {Wish.CANCEL: Order.CANCEL, Wish.DEADLINE: Order.DEADLINE, Wish.PAUSE: Order.PAUSE}


class Lease(Background):
    """The lease on a row; as a context manager, renew it in the background until the block ends.

    `close` ends the heartbeat early: call it before the write that ends the lease.
    """

    def __init__(self, place: Workplace, renew: Renew, timeout_seconds: float) -> None:
        super().__init__("heartbeat")
        self._place, self._renew = place, renew
        self._settings = place.settings
        self._renewed = time.monotonic()  # claimed just now
        self._deadline = time.monotonic() + (timeout_seconds or math.inf)
        self._order: Order | None = None
        self._ordered = math.inf  # monotonic
        self.child: Child | None = None  # the process to stop
        self.met_full_disk = False  # whether the database's disk was full, even if it has room again by now
        self._pause_saved = False  # the owner wants a pause once the next checkpoint has been stored

    @property
    def order(self) -> Order | None:
        """The reason why the work must stop, or None."""
        return self._order

    @order.setter
    def order(self, order: Order | None) -> None:
        self._order, self._ordered = order, min(self._ordered, time.monotonic())

    def overdue_seconds(self) -> float:
        """Return the seconds since even a slow stop should have completed; negative: there is time left."""
        settings = self._settings
        slow = settings.stop_grace_seconds + settings.lease_seconds + settings.outage_grace_seconds
        return time.monotonic() - self._ordered - slow

    def __enter__(self) -> Self:
        self._place.lease.current = self
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._place.lease.current = None

    def checkpointed(self) -> None:
        """Record that a checkpoint has been stored, so that a pause that waited for it takes effect."""
        if self._pause_saved:
            self.order = self.order or Order.PAUSE

    def write(self, move: Callable[[Session], T]) -> T:
        """Write in a transaction of its own; retry while the database is unreachable and the lease may still hold.

        Raises:
            Fenced: another attempt holds the row.
            sqlalchemy.exc.DBAPIError: the database did not respond in time.
        """
        while True:
            try:
                if self.order is Order.FENCED:
                    raise Fenced
                with self._place.database.transaction() as session:
                    return move(session)
            except Fenced:
                self.order = Order.FENCED
                raise
            except DBAPIError as error:
                self.met_full_disk |= is_full(error)
                if not is_outage(error) or self._is_over():
                    raise
                log.warning("the database does not respond; retrying: %s", error.orig)
                time.sleep(min(1.0, self._settings.heartbeat_seconds))

    def _is_over(self) -> bool:
        """Return whether the lease and its grace period have expired since the last renewal."""
        return time.monotonic() > self._renewed + self._settings.lease_seconds + self._settings.outage_grace_seconds

    def _run(self) -> None:
        while not self.ended.wait(self._settings.cancel_poll_seconds):
            self._beat()
            self._judge()

    def _beat(self) -> None:
        before = time.monotonic()
        due = before >= self._renewed + self._settings.heartbeat_seconds
        try:
            with self._place.database.transaction() as session:
                wish = self._renew(session, self._settings.lease_seconds if due else None)
        except Fenced:
            self.order = Order.FENCED
        except Exception as error:  # noqa: BLE001 - no error of the database may stop the training
            self.met_full_disk |= isinstance(error, DBAPIError) and is_full(error)
            log.warning("the heartbeat failed: %s", error)
        else:
            self._renewed = before if due else self._renewed
            self._follow(wish)

    def _follow(self, wish: Wish | None) -> None:
        self._pause_saved = wish is Wish.PAUSE_SAVED
        if wish in _AT_ONCE:
            self.order = self.order or _AT_ONCE[wish]

    def _judge(self) -> None:
        if self.order is None:
            if self._place.draining.is_set():
                self.order = Order.DRAIN
            elif time.monotonic() > self._deadline:
                self.order = Order.TIMEOUT
            elif self._is_over():
                self.order = Order.OUTAGE
        if self.child is not None and self.order is Order.FENCED:
            self.child.kill()
        elif self.child is not None and self.order is not None:
            self.child.stop(self._settings.stop_grace_seconds)


def is_full(error: DBAPIError) -> bool:
    """Return whether an error means that the disk of the database is full."""
    full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return full or getattr(error.orig, "sqlstate", None) == "53100"  # PostgreSQL's disk_full


def is_outage(error: DBAPIError) -> bool:
    """Return whether an error means that the database is unreachable or busy, not that a statement is wrong."""
    return error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError")
