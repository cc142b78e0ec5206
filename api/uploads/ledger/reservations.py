"""Reservations of one process, with leases that it renews while it writes and that expire if it dies."""

import logging
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from sqlalchemy import delete, insert, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.access import quotas
from api.access.quotas import Quotas
from api.db import Database, after_seconds, new_id, now
from api.errors import QuotaExceeded, StorageFull
from api.settings import Settings
from api.storage import Storage
from api.tables.ledger import Reservation
from api.uploads.ledger.service import reserve_room

log = logging.getLogger(__name__)

AHEAD = 2**24  # bytes to reserve at a time for a body of unknown length


class Held:
    """A reservation of this process: the bytes that it may write to one file."""

    def __init__(self, ledger: "Ledger", settings: Settings, owner: str | None, file: str, counted: bool) -> None:
        self.id = new_id("rsv")
        self.lost = False  # its lease has expired: others may have taken the space
        self._ledger, self._settings = ledger, settings
        self._owner, self._file, self._counted = owner, file, counted
        self._covered = -1

    def covers(self, size: int) -> bool:
        """Return whether the file may grow to `size` bytes."""
        return size <= self._covered and not self.lost

    def cover(self, size: int, ahead: int = 0, also: Callable[[Session], object] | None = None) -> None:
        """Reserve space for the file to grow to `size` bytes, before it does; in a thread that may open transactions.

        Args:
            size: bytes of the file.
            ahead: further bytes to reserve if there is space, to save later calls.
            also: runs in the same transaction.

        Raises:
            QuotaExceeded: the owner's quota is exceeded.
            StorageFull: the disk has no space.
        """
        if self.covers(size):
            return
        if ahead:
            with suppress(QuotaExceeded, StorageFull):
                self._take(size + ahead, also)
                return
        self._take(size, also)

    def release(self, also: Callable[[Session], object] | None = None) -> None:
        """Release the reservation; repeating it is harmless. `also` runs in the same transaction."""
        if self._covered < 0:
            return
        with self._ledger.database.transaction(write=True) as session:
            self.release_in(session)
            if also is not None:
                also(session)
        self.released()

    def release_in(self, session: Session) -> None:
        """Release it in a transaction that also writes the row that replaces it; then call `released`."""
        session.execute(delete(Reservation).where(Reservation.id == self.id))

    def released(self) -> None:
        """Record that the transaction of `release_in` has committed."""
        self._covered = -1
        self._ledger.drop(self)

    def _take(self, size: int, also: Callable[[Session], object] | None) -> None:
        values = {"size": size if self._counted else 0, "grows_to": size}
        until = after_seconds(self._settings.lease_seconds)
        with self._ledger.database.transaction(write=True) as session:
            known = update(Reservation).where(Reservation.id == self.id).values(**values, lease_until=until)
            if session.execute(known.returning(Reservation.id)).first() is None:
                fixed = {"id": self.id, "owner": self._owner, "file": self._file, "holder": self._ledger.holder}
                session.execute(insert(Reservation).values(**fixed, **values, lease_until=until))
            quotas.bind(session, Quotas.of(self._settings))
            if also is not None:
                also(session)
            if self._counted:
                quotas.check_storage(session, self._owner)
            reserve_room(session, self._ledger.storage, self._settings.min_free_bytes)
        self._covered, self.lost = size, False
        self._ledger.add(self, self._settings.lease_seconds / 3)


class Ledger:
    """The reservations of this process, renewed by a thread while there are any."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self.database, self.storage = database, storage
        self.holder = uuid.uuid4().hex
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, settings: Settings, owner: str | None, file: str, *, counted: bool = True) -> Held:
        """Return an empty reservation.

        Args:
            settings: quotas, watermark and lease.
            owner: owner of the bytes.
            file: its name in the store's folder for incoming files; its size there is the number of written bytes.
            counted: whether it counts against the owner's quota; False: another row already counts.
        """
        return Held(self, settings, owner, file, counted)

    def add(self, held: Held, renew_seconds: float) -> None:
        """Start renewing a reservation."""
        with self._lock:
            self._held[held.id] = held
            if self._thread is None:
                self._changed.clear()
                self._thread = threading.Thread(target=self._run, args=(renew_seconds,), name="ledger", daemon=True)
                self._thread.start()

    def drop(self, held: Held) -> None:
        """Stop renewing a reservation."""
        with self._lock:
            self._held.pop(held.id, None)
            if not self._held:
                self._changed.set()

    def _run(self, seconds: float) -> None:
        while True:
            self._changed.wait(seconds)
            with self._lock:
                self._changed.clear()
                if not self._held:
                    self._thread = None
                    return
                held = dict(self._held)
            try:
                self.database.admit(partial(self._renew, held, seconds * 3))
            except DBAPIError as error:
                log.warning("cannot renew reservations of disk space: %s", error.orig)

    def _renew(self, held: dict[str, Held], lease_seconds: float) -> None:
        live = update(Reservation).where(Reservation.holder == self.holder, Reservation.lease_until > now())
        longer = live.values(lease_until=after_seconds(lease_seconds)).returning(Reservation.id)
        with self.database.transaction(write=True) as session:
            renewed = set(session.scalars(longer))
        for id_, each in held.items():
            each.lost = each.lost or id_ not in renewed
