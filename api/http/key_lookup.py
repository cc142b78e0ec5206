"""The guard's key look-up, which does not block the event loop, with results at most a few seconds old."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.access import keys
from api.access.keys import Known
from api.caller import Caller
from api.db import Database
from api.errors import Overloaded, Unauthorized, Unavailable
from api.http.admission import Admission

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 3.0  # how long a revoked key may still be accepted, and how long a read is cached
MOST = 1000  # cached keys


class Lookup:
    """Looks up keys; used by one event loop. Concurrent look-ups of the same key share one read."""

    def __init__(self, database: Database, admission: Admission) -> None:
        self._database, self._admission = database, admission
        self._known: dict[str, tuple[float, Known | None]] = {}
        self._any, self._asked = False, -SECONDS
        self._reads: dict[str, asyncio.Task[Any]] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def caller(self, token: str, at_most: float = SECONDS) -> Caller:
        """Return the caller with this key, by a read at most `at_most` seconds old.

        Raises:
            Unauthorized: the key is unknown, has expired or was revoked.
            Unavailable: the database does not respond.
        """
        parts = keys.parts(token)
        if parts is None:
            raise Unauthorized("expected the header Authorization: Bearer <API key or token>, got an unknown one")
        known = await self._known_by(parts[0], at_most)
        if not keys.same(known, parts[1]) or known is None:
            raise Unauthorized("expected the header Authorization: Bearer <API key or token>, got an unknown one")
        if known.state != "valid":
            raise Unauthorized(f"expected a valid key, got {known.caller.key}, which is {known.state}")
        if known.unnoted:
            self._note(parts[0], known)
        return known.caller

    async def any_key(self, at_most: float = SECONDS) -> bool:
        """Return whether there has ever been a key; from then on, the service rejects callers without one.

        Args:
            at_most: greatest age of the cached read, seconds.

        Raises:
            Unavailable: the database does not respond, or has no tables yet.
        """
        if not self._any and time.monotonic() - self._asked >= at_most:
            self._any = await self._shared("", keys.any_key)
            self._asked = time.monotonic()
        return self._any

    @property
    def has_any(self) -> bool:
        """Whether there was a key at the last read; starts a new read without waiting for it.

        For responses that must not depend on the database.
        """
        if not self._any and "" not in self._reads and time.monotonic() - self._asked >= SECONDS:
            self._later(self._ask())
        return self._any

    async def _ask(self) -> None:
        with suppress(Unavailable):
            await self.any_key()

    async def stop(self) -> None:
        """Cancel background work."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _known_by(self, key_id: str, at_most: float) -> Known | None:
        asked, known = self._known.get(key_id, (-SECONDS, None))
        age = time.monotonic() - asked
        over = known is not None and known.seconds_left is not None and 0 < known.seconds_left <= age
        if age >= at_most or over:
            asked = time.monotonic()
            known = await self._shared(key_id, partial(keys.look_up, key_id=key_id))
            if len(self._known) >= MOST:  # invented ids cost a read each, but no memory
                self._known.clear()
            self._known[key_id] = (asked, known)
        return known

    async def _shared(self, what: str, read: Callable[[Session], T]) -> T:
        """Share one read among all concurrent callers."""
        task = self._reads.get(what)
        if task is None:
            task = self._reads[what] = asyncio.create_task(self._read(read))
            task.add_done_callback(lambda _: self._reads.pop(what))
        found: T = await asyncio.shield(task)
        return found

    async def _read(self, read: Callable[[Session], T]) -> T:
        def work() -> T:
            with self._database.reading() as session:
                return read(session)

        try:
            return await self._admission.guard(work)
        except SQLAlchemyError as error:
            raise Unavailable("expected a response from the database, got none") from error

    def _note(self, key_id: str, known: Known) -> None:
        """Record in the background that a key was used."""
        self._known[key_id] = (self._known[key_id][0], replace(known, unnoted=False))
        self._later(self._write_note(key_id))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        # In its own context: it does not belong to the request that happens to start it.
        task = asyncio.create_task(work, context=Context())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _write_note(self, key_id: str) -> None:
        def work() -> None:
            with self._database.transaction(write=True) as session:
                keys.note_use(session, key_id)

        try:
            await self._admission.run(work, write=True)
        except (Overloaded, SQLAlchemyError) as error:  # retried at the next use
            log.info("cannot record the use of %s: %s", key_id, error)
