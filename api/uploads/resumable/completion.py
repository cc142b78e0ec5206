"""Complete a resumable upload: when all its bytes have arrived, it becomes a dataset or a model.

The request with the last byte completes it. If its process died first, the reaper does, or the client by sending an
empty piece at the end. Nothing else does: a GET never writes.
"""

import logging
import time
from functools import partial

from sqlalchemy import select

from api.access.transactions import UnitOfWork
from api.caller import Caller, Scope
from api.db import Database
from api.errors import FieldError, Invalid, UploadBusy
from api.storage import Storage
from api.storage.partial_uploads import Busy, Partial
from api.tables.resumable import ResumableUpload
from api.uploads.resumable import service
from api.uploads.resumable.announcement import HEADER, Announcement
from api.uploads.service import register
from api.wake_ups import Doorbell

log = logging.getLogger(__name__)

LEFT_SECONDS = 60.0  # time after the last byte before the reaper takes over from the request


def hash_if_whole(arriving: Partial, length: int) -> str | None:
    """Return the sha256 of an upload with all its bytes; None while some are missing, or once it is completed.

    Call it outside of any transaction: none may be open while gigabytes are read.

    Raises:
        UploadBusy: another request is writing or hashing the file.
    """
    if arriving.size() != length:
        return None
    try:
        with arriving.appending():
            return arriving.sha256()
    except Busy:
        raise UploadBusy("expected one request at a time to complete an upload, got a second one") from None
    except FileNotFoundError:  # another request was faster
        return None


def complete(work: UnitOfWork, store: Storage, row: ResumableUpload, sha256: str, arriving: Partial) -> None:
    """Turn an upload into the announced dataset or model, unless that has already been done.

    Raises:
        Invalid: the file differs from the announced one; it is removed.
    """
    file = Announcement.model_validate(row, from_attributes=True)
    if row.sha256 not in (None, sha256):
        arriving.remove()
        work.undo(partial(service.stop_counting, work.database, row.id))
        detail = f"expected a file with the sha256 {row.sha256}, got one with {sha256}: it was damaged on its way"
        raise Invalid(detail, [FieldError(parameter=HEADER, detail=detail)])
    if not service.claim(work.session, row):
        return
    stored = arriving.keep(sha256, file.suffix)
    register(work, store, stored, lambda session: service.create(session, row, stored))
    work.then(arriving.remove)


def complete_all(database: Database, doorbell: Doorbell, store: Storage) -> list[str]:
    """Complete the uploads whose process died between their last byte and their completion; return their ids.

    They have counted against their owners' quotas since their announcement, and still do.
    """
    with database.transaction() as session:
        open_ones = select(ResumableUpload.id, ResumableUpload.length, ResumableUpload.owner)
        rows = session.execute(open_ones.where(ResumableUpload.created.is_(None))).all()
    completed = []
    for upload_id, length, owner in rows:
        arriving = Partial(store, upload_id)
        if arriving.size() != length or time.time() - arriving.last_byte_at() < LEFT_SECONDS:
            continue
        try:
            sha256 = hash_if_whole(arriving, length)
            if sha256 is None:
                continue
            with UnitOfWork.of(database, doorbell, Caller("reaper", owner, Scope.SUBMIT)) as work:
                complete(work, store, service.get(work.session, upload_id), sha256, arriving)
            completed.append(upload_id)
        except Invalid as error:
            log.warning("aborted %s: %s", upload_id, error)
        except Exception:  # one failure must not delay the others
            log.exception("cannot complete %s", upload_id)
    return completed
