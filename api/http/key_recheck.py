"""Authorisation throughout a response: streams, long polls, downloads and uploads end when the key becomes invalid."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from api.errors import ApiError, Unauthorized

log = logging.getLogger(__name__)

SECONDS = 1.0  # between checks of the caller's key; shorter requests are checked once


@asynccontextmanager
async def standing(look: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run the body until `look` refuses; other failures of `look` are ignored.

    Raises:
        Unauthorized: raised by `look`; the body was cancelled.
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
            except ApiError as error:  # the database does not respond: the last result stays valid
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
