"""Import a dataset from an allowed folder or bucket into the store, after which it is treated as an upload.

The copy runs under a lease, like a check: after a crash the next worker starts it again, and the same content gets the
same key. The row refers to the file only once it has been stored completely.
"""

import logging
from functools import partial

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.access import quotas
from api.access.quotas import Quotas
from api.errors import ApiError, Unavailable
from api.jobs import upload_checks
from api.jobs.upload_checks import Import
from api.storage import Incoming, StorageUnreachable, Stored, deletions, full_disk_reported
from api.tables.leases import Fenced
from api.uploads.datasets.sources import open_source
from api.uploads.ledger.reservations import AHEAD, Held
from api.wake_ups import INSPECT
from worker.lease import Lease, Order
from worker.workplace import Workplace

log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The copy must stop early, for the reason in the lease."""


class _Watched:
    """An incoming file that rejects writes once the lease orders a stop, or when the disk space is not reserved."""

    def __init__(self, incoming: Incoming, lease: Lease, held: Held) -> None:
        self._incoming, self._lease, self._held = incoming, lease, held

    @property
    def size(self) -> int:
        return self._incoming.size

    def write(self, chunk: bytes) -> None:
        if self._lease.order is not None:
            raise _Stopped
        self._held.cover(self.size + len(chunk), AHEAD)
        self._incoming.write(chunk)


def run(place: Workplace, claimed: Import) -> None:
    """Copy a claimed import until it is stored, rejected, returned to the queue, or fenced."""
    try:
        with Lease(
            place,
            lambda session, seconds: upload_checks.renew(session, claimed, seconds),
            place.settings.import_timeout_seconds,
        ) as lease:
            try:
                _bring(place, claimed, lease)
            except _Stopped:
                _stop(place, claimed, lease)
            except (Unavailable, StorageUnreachable) as error:
                _wait(place, claimed, lease, error)
            except ApiError as error:
                _refuse(claimed, lease, error.errors[0].detail if error.errors else error.detail)
    except Fenced:
        log.warning("the import of %s is fenced: another worker holds it", claimed.id)
    except DBAPIError as error:
        log.error("no response from the database; leaving the import of %s to the reaper: %s", claimed.id, error.orig)


def _bring(place: Workplace, claimed: Import, lease: Lease) -> None:
    stored = _copy(place, claimed, lease)
    lease.close()
    try:
        lease.write(partial(_arrived, place, claimed, stored))
    except BaseException:
        if stored.new:
            deletions.drop_unnamed(place.database, place.storage, stored.key)
        raise
    log.info("imported %s from %s", claimed.id, claimed.source)
    place.doorbell.ring(INSPECT, claimed.id)


def _copy(place: Workplace, claimed: Import, lease: Lease) -> Stored:
    settings = place.settings
    source = open_source(settings, claimed.source, patient=True)
    with full_disk_reported("expected room for the dataset, got a full disk"), place.storage.incoming() as incoming:
        held = place.ledger.begin(settings, None, incoming.name, counted=False)  # the row's size counts already
        try:
            held.cover(source.size, AHEAD)
            source.copy(_Watched(incoming, lease, held), settings.max_dataset_bytes)
            return incoming.keep(source.suffix)
        finally:
            held.release()


def _arrived(place: Workplace, claimed: Import, stored: Stored, session: Session) -> None:
    quotas.bind(session, Quotas.of(place.settings))  # the source may have grown since the request
    upload_checks.arrived(session, claimed, stored)
    deletions.hold(session, place.storage, stored.key)


def _stop(place: Workplace, claimed: Import, lease: Lease) -> None:
    if lease.order is Order.TIMEOUT:
        _refuse(claimed, lease, f"copying took longer than {place.settings.import_timeout_seconds:g} s and was stopped")
        return
    lease.close()
    lease.write(lambda session: upload_checks.give_back(session, claimed))


def _wait(place: Workplace, claimed: Import, lease: Lease, error: Exception) -> None:
    """Return an import to the queue if it cannot be copied now; reject it after the import timeout."""
    if claimed.waited_seconds > place.settings.import_timeout_seconds:
        _refuse(claimed, lease, str(error))
        return
    log.error("returned the import of %s to the queue: %s", claimed.id, error)
    lease.close()
    lease.write(lambda session: upload_checks.give_back(session, claimed, later=True))


def _refuse(claimed: Import, lease: Lease, detail: str) -> None:
    log.info("rejected the import of %s: %s", claimed.id, detail)
    lease.close()
    problems = [{"where": claimed.source, "detail": detail}]
    lease.write(lambda session: upload_checks.settle(session, claimed, None, problems))
