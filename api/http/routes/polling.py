"""Reading one job, at once or when there is news: a wait holds neither a thread nor a database connection."""

import asyncio
import time
import zlib
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import Request

from api.caller import Caller, Scope
from api.http.dependencies import Read, at_database, caller_of, versions_of
from api.http.responses import matches
from api.http.watch import Watch
from api.jobs import service, warnings
from api.jobs.schemas import JobDetail, Waiting
from api.jobs.waiting import waiting_for
from api.tables.states import TERMINAL, Status

LOOKS_PER_SECOND = 20  # unasked ones, of all who wait in this process together
LOOK_SECONDS = 2.0  # between looks at what changes without a write to the job: what it waits for, whether we are heard


@dataclass(frozen=True)
class Look:
    """A job as one look finds it."""

    status: Status
    etag: str
    content: bytes | None  # JSON; None: the client has this version


async def now(request: Request, read: Read, job_id: str, known: str | None) -> Look:
    """Look at a job at once; if the client knows its version, that costs one indexed read, which others share.

    Raises:
        NotFound: there is no such job.
        Overloaded: too many requests wait for the database.
    """
    if known is not None and (found := await _unchanged(request, job_id, known)) is not None:
        return found
    return await at_database(request, partial(look, read, job_id, known), write=False)


async def _unchanged(request: Request, job_id: str, known: str) -> Look | None:
    """Return the look at a job of which the client has the newest version.

    None also for a queued one: what it waits for changes without a new version.
    """
    found = await versions_of(request).of(job_id)
    if found is None or found.status == Status.QUEUED or not caller_of(request).sees(found.owner):
        return None
    etag = etag_of(found.number, [])
    return Look(found.status, etag, None) if matches(known, etag) else None


def look(read: Read, job_id: str, known: str | None) -> Look:
    """Look at a job; without its content if the client knows this version.

    Raises:
        NotFound: there is none.
    """
    with read() as session:
        job = service.get(session, job_id)
        waiting = waiting_for(session, job, count=True)
        etag = etag_of(job.version, waiting)
        if matches(known, etag):
            return Look(job.status, etag, None)
        detail = JobDetail.of(job, waiting, warnings=warnings.of(session, job.id))
    return Look(detail.status, etag, detail.model_dump_json(by_alias=True).encode())


def etag_of(version: int, waiting: list[Waiting]) -> str:
    """Return a job's ETag: its version, and what a queued job waits for, which changes without a write to the job."""
    others = zlib.crc32("".join(w.detail for w in waiting).encode())
    return f'W/"{version}-{others:x}"' if waiting else f'W/"{version}"'


async def news(request: Request, read: Read, watch: Watch, job_id: str, known: str | None, seconds: float) -> Look:
    """Look at a job when it has another version than the client knows; without one, when it has another status.

    A job that has ended has no more news, and when `seconds` are over the last look counts.

    Raises:
        NotFound: there is no such job.
        TooManyWaiting: as many clients as may wait do so.
    """
    end = time.monotonic() + seconds
    caller = caller_of(request)
    with watch.job(job_id, caller) as written:
        first = found = await _shared(watch, read, job_id, caller)
        while not _is_news(found, first, known) and not watch.closing:
            left = end - time.monotonic()
            if left <= 0 or await request.is_disconnected():
                break
            # The more wait, the less often each looks unasked: all of them together cost the same.
            pause = max(LOOK_SECONDS, watch.taken / LOOKS_PER_SECOND)
            if await written.wait(min(left, pause)) or found.status == Status.QUEUED:
                found = await _shared(watch, read, job_id, caller)
    return found


_looks: WeakKeyDictionary[Watch, dict[tuple[Any, ...], asyncio.Task[Look]]] = WeakKeyDictionary()


async def _shared(watch: Watch, read: Read, job_id: str, caller: Caller) -> Look:
    """Look at a job, once for all who see the same of it and were woken by the same read of versions."""
    looks = _looks.setdefault(watch, {})
    key = (job_id, caller.owner, caller.scope == Scope.ADMIN, watch.tick)
    if (task := looks.get(key)) is None:
        work = watch.admission.follow(partial(look, read, job_id, None))
        task = looks[key] = asyncio.create_task(work, context=Context())
        task.add_done_callback(lambda _: looks.pop(key))
    return await asyncio.shield(task)


def _is_news(found: Look, first: Look, known: str | None) -> bool:
    if found.status in TERMINAL:
        return True
    if known is None:
        return found.status != first.status
    return not matches(known, found.etag)
