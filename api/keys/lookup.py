"""The keys as the guard asks for them: without blocking the event loop, and at most a few seconds old."""

import time

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.access import Caller
from api.db import Database
from api.errors import Unauthorized, Unavailable
from api.keys import service
from api.keys.service import Known

SECONDS = 3.0  # how long a revoked key may still be taken, and how long a read of the database stands
MOST = 1000  # keys remembered


class Lookup:
    """Looks keys up; used by one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, Known | None]] = {}
        self._any, self._asked = False, -SECONDS

    async def caller(self, token: str) -> Caller:
        """Say who has this key.

        Raises:
            Unauthorized: nobody, or it has expired or was revoked.
            Unavailable: the database does not answer.
        """
        parts = service.parts(token)
        if parts is None:
            raise Unauthorized("expected the header Authorization: Bearer <API key or token>, got none that is known")
        known = await self._known_by(*parts)
        if not service.same(known, parts[1]) or known is None:
            raise Unauthorized("expected the header Authorization: Bearer <API key or token>, got none that is known")
        if known.state != "valid":
            raise Unauthorized(f"expected a key that is valid, got {known.caller.key}, which is {known.state}")
        return known.caller

    async def any_key(self) -> bool:
        """Say whether there has ever been a key; once there has, the service stays closed to callers without.

        Raises:
            Unavailable: the database does not answer, or has no tables yet.
        """
        if not self._any and time.monotonic() - self._asked >= SECONDS:
            self._any = await run_in_threadpool(self._ask)
            self._asked = time.monotonic()
        return self._any

    async def _known_by(self, key_id: str, sha256: str) -> Known | None:
        fresh, known = self._known.get(key_id, (0.0, None))
        if time.monotonic() >= fresh:
            known = await run_in_threadpool(self._read, key_id, sha256)
            if len(self._known) >= MOST:  # whoever invents ids costs a read each, never memory
                self._known.clear()
            self._known[key_id] = (time.monotonic() + SECONDS, known)
        return known

    def _read(self, key_id: str, sha256: str) -> Known | None:
        try:
            with self._database.transaction() as session:
                return service.look_up(session, key_id, sha256)
        except SQLAlchemyError as error:
            raise Unavailable("expected a database that answers, got none") from error

    def _ask(self) -> bool:
        try:
            with self._database.transaction() as session:
                return service.any_key(session)
        except SQLAlchemyError as error:
            raise Unavailable("expected a database that answers, got none") from error
