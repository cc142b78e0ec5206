"""Reservations of bytes by requests: in a thread of `api.http.admission`, with no transaction while bytes arrive."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from fastapi import Request
from sqlalchemy.orm import Session

from api.errors import Overloaded
from api.http.dependencies import at_database, settings_of
from api.uploads.ledger.reservations import Held, Ledger

log = logging.getLogger(__name__)
Also = Callable[[Session], object]


class Reserving:
    """A request's reservation for one file."""

    def __init__(
        self, request: Request, owner: str | None, file: str, counted: bool = True, also: Also | None = None
    ) -> None:
        """Start with an empty reservation.

        Args:
            request: the request.
            owner: whose bytes they are.
            file: its name in the store's folder for incoming files.
            counted: see `Ledger.begin`.
            also: runs in every transaction that reserves.
        """
        ledger: Ledger = request.app.state.ledger
        self.held: Held = ledger.begin(settings_of(request), owner, file, counted=counted)
        self._request, self._also = request, also

    async def cover(self, size: int, ahead: int = 0) -> None:
        """Reserve space for the file to grow to `size` bytes; see `Held.cover`."""
        if not self.held.covers(size):
            await at_database(self._request, partial(self.held.cover, size, ahead, self._also), write=True)

    async def release(self, also: Also | None = None) -> None:
        """Release the rest, even if the request is being cancelled; see `Held.release`."""
        if not self.held.covers(0):
            return
        try:
            await asyncio.shield(at_database(self._request, partial(self.held.release, also), write=True))
        except Overloaded as error:
            log.warning("cannot release a reservation; it expires by itself: %s", error)
            self.held.released()
