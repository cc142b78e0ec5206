"""Check the disk watermark against free space and reserved, unwritten bytes. No function commits."""

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from api.db import after_seconds, now
from api.errors import StorageFull
from api.storage import Storage
from api.tables.ledger import Reservation

DISK = 0x6469736B00  # "disk": the advisory lock for reserving space, on PostgreSQL; no CRC-32 is as large


def unwritten_bytes(session: Session, storage: Storage) -> int:
    """Sum the unwritten bytes of live reservations.

    A file that is not in this folder is on another host's disk, or already stored under its key.
    """
    live = select(Reservation.file, Reservation.grows_to).where(Reservation.lease_until > now())
    growing = ((most, _size(storage, file)) for file, most in session.execute(live))
    return sum(max(0, most - written) for most, written in growing if written is not None)


def check_room(session: Session, storage: Storage, least: int, more: int = 0) -> None:
    """Reject work for which the disk has no space.

    Args:
        session: the caller's transaction.
        storage: the file store.
        least: bytes to keep free.
        more: expected bytes without a reservation.

    Raises:
        StorageFull: fewer than `least` bytes would stay free.
    """
    free, coming = storage.free(), unwritten_bytes(session, storage) + more
    if free - coming < least:
        raise StorageFull(
            f"expected {least} bytes to stay free in the file store, got {free} free and {coming} to come"
        )


def reserve_room(session: Session, storage: Storage, least: int) -> None:
    """Refuse a reservation written by this transaction if the disk has no space for it; one transaction at a time.

    Raises:
        StorageFull: it has none.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(DISK)))
    check_room(session, storage, least)


def forget(session: Session, after: float) -> None:
    """Delete reservations of killed processes that expired `after` seconds ago."""
    session.execute(delete(Reservation).where(Reservation.lease_until < after_seconds(-after)))


def _size(storage: Storage, file: str) -> int | None:
    try:
        return storage.incoming_path(file).stat().st_size
    except FileNotFoundError:
        return None
