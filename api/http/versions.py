"""Versions of jobs for clients that poll with an ETag: one query for all requests that arrive during the previous one.

A query starts only after the requests that it serves have arrived, so each sees what was committed before it.
"""

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass
from functools import partial

from sqlalchemy import bindparam, select

from api.db import Database
from api.errors import Overloaded
from api.http.admission import PATIENCE, SERVED_SECONDS, Admission
from api.tables.jobs import Job
from api.tables.states import Status

_VERSIONS = select(Job.id, Job.version, Job.status, Job.owner).where(Job.id.in_(bindparam("ids", expanding=True)))
_SILENT = "expected a response from the database in time, got none"


@dataclass(frozen=True)
class Version:
    """A job's version, and the fields that decide whether a caller may see it."""

    number: int
    status: Status
    owner: str | None


class Versions:
    """Reads the versions of jobs, one query at a time; used by one event loop."""

    def __init__(self, database: Database, admission: Admission) -> None:
        self._database, self._admission = database, admission
        self._asked: dict[str, asyncio.Future[Version | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0  # start of the running query

    async def of(self, job_id: str) -> Version | None:
        """Return a job's version, regardless of its owner; None if it does not exist.

        Raises:
            Overloaded: too many requests wait for the database, or it does not respond.
        """
        if self._task is not None and time.monotonic() - self._began > SERVED_SECONDS:
            raise Overloaded(_SILENT)
        if (answer := self._asked.get(job_id)) is None:
            answer = self._asked[job_id] = asyncio.get_running_loop().create_future()
        if self._task is None:
            # In its own context: it also serves other requests, and may outlive this one.
            self._task = asyncio.create_task(self._read_all(), context=Context())
            self._began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise Overloaded(_SILENT) from None

    async def _read_all(self) -> None:
        while self._asked:
            asked, self._asked, self._began = self._asked, {}, time.monotonic()
            try:
                found = await self._admission.run(partial(self._read, list(asked)), write=False)
            except Exception as error:  # noqa: BLE001  - raised in each waiting request
                for answer in asked.values():
                    answer.set_exception(error)
                    answer.exception()  # marks it as retrieved: the waiting request may have gone
            else:
                for job_id, answer in asked.items():
                    answer.set_result(found.get(job_id))
        self._task = None

    def _read(self, ids: list[str]) -> dict[str, Version]:
        with self._database.reading() as session:
            rows = session.execute(_VERSIONS, {"ids": ids}).all()
        return {job_id: Version(version, Status(status), owner) for job_id, version, status, owner in rows}
