"""Limit slow request bodies: a client that stops sending, or sends too slowly, gets a 408 and is disconnected.

Only the time that the service waits for the client counts, not the time to write to a disk.
"""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from api.settings import Settings

TOO_SLOW = 408


class Paced:
    """Receives a body as long as it arrives fast enough."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        """Begin with nothing received.

        Args:
            receive: the server's function.
            settings: `body_seconds` is the longest wait for the next bytes, and the largest total delay of a slow body
                behind `body_bytes_per_second`.
        """
        self._receive = receive
        self._patience, self._pace = settings.body_seconds, settings.body_bytes_per_second
        self._behind, self._over = 0.0, False  # seconds; earlier speed earns no credit

    async def __call__(self) -> Message:
        """Receive the next bytes.

        Raises:
            HTTPException: 408, they did not arrive in time; FastAPI hides other errors while it reads a body.
        """
        if self._over:  # the next message is the disconnect
            return await self._receive()
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._patience - self._behind):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(TOO_SLOW) from None
        taken = len(message.get("body", b"")) / self._pace
        self._behind = max(0.0, self._behind + clock() - began - taken)
        self._over = not message.get("more_body", False)
        return message
