"""The webhook sender: one thread of the reaper process that delivers many messages at once.

An attempt is a task of this thread's event loop, so a receiver or a name server that does not answer costs memory, but
no thread. One other thread queries the database, through one connection.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.db import Database
from api.settings import Settings
from api.webhooks import delivery_rows
from api.webhooks.client import Client
from api.webhooks.delivery_rows import Due
from api.webhooks.resolver import Resolver
from api.webhooks.vault import Vault

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Sender:
    """Send due messages; safe in any number of processes."""

    def __init__(self, settings: Settings, resolver: Resolver | None = None) -> None:
        self.settings = settings
        self.database = Database(settings.database_url, kept=1)
        self._client = Client(settings.webhooks_allow_http, settings.webhooks_allow_private, resolver or Resolver())
        self._vault, self._resealed = Vault(settings), False
        self._under_way: dict[asyncio.Task[None], Due] = {}
        self._asking = ThreadPoolExecutor(1, "webhooks-database")

    def start(self, stop: threading.Event) -> list[threading.Thread]:
        """Start the thread, which ends soon after `stop` is set."""
        thread = threading.Thread(target=lambda: asyncio.run(self.run(stop)), name="webhooks", daemon=True)
        thread.start()
        return [thread]

    async def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set, then finish the attempts in progress."""
        while not stop.is_set():
            try:
                await self._begin()
            except DBAPIError as error:  # unreachable, or not migrated yet
                log.warning("cannot poll for webhook events, the database does not respond: %s", error.orig)
            except Exception:
                log.exception("a round of webhook deliveries failed; retrying")
            # An ended attempt frees a slot, and its webhook may have another message.
            await self._wait(self.settings.webhooks_seconds)
        while self._under_way:
            await self._wait(None)

    def send_due(self) -> int:
        """Send everything that is due now and return the number of attempts; for tests and tools."""

        async def drain() -> int:
            count = 0
            while begun := await self._begin():
                count += begun
                while self._under_way:
                    await self._wait(None)
            return count

        return asyncio.run(drain())

    async def _begin(self) -> int:
        """Start as many attempts as the limits allow; return how many."""
        if not self._resealed:
            if count := await self._ask(self._vault.reseal):
                log.info("re-encrypted the secrets of %d webhooks with the newest key", count)
            self._resealed = True
        under_way = list(self._under_way.values())
        due = await self._ask(lambda session: delivery_rows.claim(session, under_way))
        for message in due:
            self._under_way[asyncio.create_task(self._attempt(message))] = message
        return len(due)

    async def _wait(self, seconds: float | None) -> None:
        """Wait until an attempt ends, at most `seconds`."""
        if not self._under_way:
            await asyncio.sleep(seconds or 0)
            return
        done, _ = await asyncio.wait(self._under_way, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            due = self._under_way.pop(task)
            if (error := task.exception()) is not None:  # the lease expires, and the message is sent again
                log.error("cannot record the outcome of %s: %s", due.id, getattr(error, "orig", None) or error)

    async def _attempt(self, due: Due) -> None:
        began = time.monotonic()
        answer = await self._client.send(due.url, due.id, due.body, self._vault.open(due.secrets))
        seconds = time.monotonic() - began
        log.info("%s attempt %d: %s", due.id, due.attempt, answer.status_code or answer.error)
        first, most = self.settings.webhooks_retry_seconds, self.settings.webhooks_disable_days
        await self._ask(lambda session: delivery_rows.settle(session, due, answer, seconds, first, most))

    async def _ask(self, question: Callable[[Session], Result]) -> Result:
        def ask() -> Result:
            with self.database.transaction() as session:
                return question(session)

        return await asyncio.get_running_loop().run_in_executor(self._asking, ask)
