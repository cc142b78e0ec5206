"""Authorisation that lasts as long as the answer: streams, long polls, downloads and uploads end when a key does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from api.errors import ApiError, Unauthorized

log = logging.getLogger(__name__)

SECONDS = 1.0  # between two looks at whether a caller still may; what is over sooner is looked at once


@asynccontextmanager
async def standing(look: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run the body only as long as `look` does not refuse; a look that fails otherwise changes nothing.

    Raises:
        Unauthorized: what `look` raised; the body was cancelled.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    refusal: list[Unauthorized] = []
    looking: list[asyncio.Task[None]] = []

    async def go_on_looking() -> None:
        while True:
            try:
                await look()
            except Unauthorized as error:
                refusal.append(error)
                task.cancel()
                return
            except ApiError as error:  # the database is away: nobody knows better
                log.info("cannot check whether the caller's key is still valid: %s", error)
            await asyncio.sleep(SECONDS)

    timer = loop.call_later(SECONDS, lambda: looking.append(loop.create_task(go_on_looking())))
    try:
        yield
    except asyncio.CancelledError:
        if not refusal:
            raise
        task.uncancel()
        raise refusal[0] from None
    finally:
        timer.cancel()
        for one in looking:
            one.cancel()
