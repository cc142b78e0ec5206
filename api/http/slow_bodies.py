"""A request's body must keep coming: whoever stops, or lets it drip, is answered 408 and cut off.

Only the time is counted in which the service waits for the client, never what it takes to write to a disk.
"""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from api.settings import Settings

TOO_SLOW = 408


class Paced:
    """What receives a body, for as long as it comes fast enough."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        """Begin with nothing received.

        Args:
            receive: the server's.
            settings: `body_seconds` are the longest wait for the next bytes, and what a slow body may be behind in all;
                `body_bytes_per_second` is the pace that it is behind of.
        """
        self._receive = receive
        self._patience, self._pace = settings.body_seconds, settings.body_bytes_per_second
        self._behind, self._over = 0.0, False  # seconds; what came fast earlier is no credit for later

    async def __call__(self) -> Message:
        """Receive the next bytes.

        Raises:
            HTTPException: 408, they did not come in time; FastAPI passes on no other error while it reads a body.
        """
        if self._over:  # what comes now is the news that the client has gone
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
