"""Holding a row while a child works for it: renew the lease, watch for orders to stop, write under the fence.

A heartbeat that fails is not a failed job: while the database does not answer, the child works on until the lease and
the grace after it are over. A worker that is fenced kills its child at once and writes nothing more.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api import log_setup
from api.tables.leases import Fenced, Wish
from worker.process import Child
from worker.workplace import Workplace

log = logging.getLogger(__name__)
T = TypeVar("T")
Renew = Callable[[Session, float | None], Wish | None]  # (session, lease seconds or None) -> what the owner wants


class Order(StrEnum):
    """Why the work must stop before its end."""

    CANCEL = "cancel"  # the owner asked for it
    PAUSE = "pause"  # likewise: the row is to wait
    DEADLINE = "deadline"  # the moment by which it was to end has passed
    TIMEOUT = "timeout"  # its wall time is over
    DRAIN = "drain"  # the worker is being shut down
    OUTAGE = "outage"  # the database was away for longer than the lease and its grace
    FENCED = "fenced"  # somebody else holds the row


_AT_ONCE = {Wish.CANCEL: Order.CANCEL, Wish.DEADLINE: Order.DEADLINE, Wish.PAUSE: Order.PAUSE}


class Lease:
    """A held row; as a context manager it renews the lease in the background until the block ends."""

    def __init__(self, place: Workplace, renew: Renew, timeout_seconds: float) -> None:
        self._place, self._renew = place, renew
        self._settings = place.settings
        self._renewed = time.monotonic()  # claimed just now
        self._deadline = time.monotonic() + (timeout_seconds or math.inf)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=log_setup.carrying(self._run), name="heartbeat", daemon=True)
        self._order: Order | None = None
        self._ordered = math.inf  # monotonic
        self.child: Child | None = None  # what to stop then
        self._pause_saved = False  # the owner wants a pause once the next checkpoint is kept

    @property
    def order(self) -> Order | None:
        """Why the work must stop, once it must."""
        return self._order

    @order.setter
    def order(self, order: Order | None) -> None:
        self._order, self._ordered = order, min(self._ordered, time.monotonic())

    def overdue_seconds(self) -> float:
        """Return for how long the work has gone on since even a slow end should have come; negative: it may go on."""
        settings = self._settings
        slow = settings.stop_grace_seconds + settings.lease_seconds + settings.outage_grace_seconds
        return time.monotonic() - self._ordered - slow

    def __enter__(self) -> Self:
        self._place.lease.current = self
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._place.lease.current = None

    def close(self) -> None:
        """End the heartbeat; call it before the write that ends the lease."""
        self._closed.set()
        self._thread.join()

    def checkpointed(self) -> None:
        """Record that a checkpoint is stored: a pause that waited for one is due."""
        if self._pause_saved:
            self.order = self.order or Order.PAUSE

    def write(self, move: Callable[[Session], T]) -> T:
        """Make a move in a transaction of its own, again and again while the database is away but the lease may hold.

        Raises:
            Fenced: the row is no longer ours.
            sqlalchemy.exc.DBAPIError: the database did not come back in time.
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
                if not is_outage(error) or self._is_over():
                    raise
                log.warning("the database does not answer, trying again: %s", error.orig)
                time.sleep(min(1.0, self._settings.heartbeat_seconds))

    def _is_over(self) -> bool:
        """Return whether the lease and its grace have passed since it was last renewed."""
        return time.monotonic() > self._renewed + self._settings.lease_seconds + self._settings.outage_grace_seconds

    def _run(self) -> None:
        while not self._closed.wait(self._settings.cancel_poll_seconds):
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
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the database, the training is not
            log.warning("the heartbeat failed: %s", error)
        else:
            self._renewed = before if due else self._renewed
            self._hear(wish)

    def _hear(self, wish: Wish | None) -> None:
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


def is_outage(error: DBAPIError) -> bool:
    """Return whether an error means that the database is away or busy, not that a statement is wrong."""
    return error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError")
