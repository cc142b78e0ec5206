"""Wait for changes of jobs: one small periodic query for all waiting clients, without a thread or connection for each.

Every write to a job raises its version, in whichever process. While there are waiting clients, the versions of their
jobs are read every `POLL_SECONDS`, and clients whose job has a new version wake up. So any number of API processes can
run in parallel on any database without communicating.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial

import anyio
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from api.caller import Caller
from api.db import Database
from api.errors import TooManyWaiting, Unavailable
from api.http.admission import Admission
from api.tables.jobs import Job

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class News:
    """Whether a job has been written to since its waiting client last read it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake the waiting client."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for a write after the last call; False if there was none within `seconds`.

        Read the job after a call, not before it: a write between the two wakes the next call.
        """
        with anyio.move_on_after(seconds):
            await self._event.wait()
        written = self._event.is_set()
        self._event.clear()
        return written


class Watch:
    """All waiting clients of this process."""

    def __init__(self, database: Database, admission: Admission, most: int) -> None:
        self._database, self.admission, self.most = database, admission, most
        self.taken = 0  # number of waiting clients
        self._of = Counter[str]()  # the same by owner
        self.tick = 0  # the number of the newest read of versions
        self._waiting: dict[str, list[News]] = {}
        self._versions: dict[str, int | None] = {}
        self._task: asyncio.Task[None] | None = None
        self.closing = False  # the process is stopping: waiting requests should end, and clients reconnect elsewhere

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Take a place for a waiting client. An owner may take at most as many as remain free for others.

        So a single owner gets half of them, two get two thirds, and there are always some left for another owner. The
        operator may take all.

        Raises:
            TooManyWaiting: all places, or this owner's, are taken.
        """
        free, owner = self.most - self.taken, caller.owner
        if free <= 0:
            raise TooManyWaiting(f"expected at most {self.most} waiting clients, got one more: poll, or retry later")
        if owner is not None and (own := self._of[owner]) > free:
            raise TooManyWaiting(f"expected at most {own} waiting clients of {owner}, got one more: poll")
        self.taken += 1
        if owner is not None:
            self._of[owner] += 1
        try:
            yield
        finally:
            self.taken -= 1
            if owner is not None:
                self._of[owner] -= 1
                self._of += Counter()  # forget owners without any

    @contextmanager
    def job(self, job_id: str, caller: Caller) -> Iterator[News]:
        """Subscribe to writes to a job; raises `TooManyWaiting`."""
        with self.place(caller):
            news = News()
            self._waiting.setdefault(job_id, []).append(news)
            if self._task is None or self._task.done():
                # In its own context: it outlives the request that happens to start it.
                self._task = asyncio.create_task(self._poll(), context=Context())
            try:
                yield news
            finally:
                self._waiting[job_id].remove(news)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    async def stop(self) -> None:
        """Stop polling."""
        self.closing = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _poll(self) -> None:
        self._versions.clear()  # unknown at first: the first poll wakes every client once
        while self._waiting:
            await asyncio.sleep(POLL_SECONDS)
            try:
                versions = {} if self.closing else await self.admission.guard(partial(self._read, list(self._waiting)))
            except (SQLAlchemyError, Unavailable) as error:  # waiting clients keep waiting
                log.warning("the database does not respond: %s", error)
                continue
            self.tick += 1
            for job_id, all_news in self._waiting.items():
                if self.closing or versions.get(job_id) != self._versions.get(job_id, -1):
                    for news in all_news:
                        news.tell()
            self._versions = versions

    def _read(self, job_ids: list[str]) -> dict[str, int | None]:
        """Read the versions of jobs; None for a deleted one."""
        with self._database.reading() as session:
            rows = session.execute(select(Job.id, Job.version).where(Job.id.in_(job_ids))).all()
        return dict.fromkeys(job_ids) | dict(rows)
