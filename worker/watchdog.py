"""Exit the process of a stuck worker, so that its supervisor starts a new one.

A thread may be stuck in a call that never returns, but a process can always exit. No work is lost: the database row
is the source of truth, and the trainer dies with its worker.
"""

import logging
import os
import time

from sqlalchemy.exc import DBAPIError

from api.jobs.workers import service
from worker.background import Background
from worker.claim_loop import ClaimLoop
from worker.workplace import Workplace

log = logging.getLogger(__name__)

WEDGED = 70  # exit status: EX_SOFTWARE
SAID_SECONDS = 2.0  # longest time to wait until the heartbeat has sent the complaint


class Watchdog(Background):
    """As a context manager: watches a claim loop while the block runs, and makes sure that a drained worker exits."""

    def __init__(self, place: Workplace, loop: ClaimLoop) -> None:
        super().__init__("watchdog")
        self._place, self._loop = place, loop
        self._drained_at: float | None = None  # monotonic; when the drained loop was first seen to have ended

    def close(self) -> None:
        """End the thread without waiting: it may be stuck in the database."""
        self.end()

    def _run(self) -> None:
        while not self.ended.wait(self._place.settings.cancel_poll_seconds):
            if (complaint := self._loop.stuck()) is not None:
                self._end(complaint)
            if self._place.draining.is_set() and not self._loop.is_open() and self._grace_is_over():
                log.warning("Celery does not close its broker connection: the worker exits without waiting for it")
                self._leave()
                os._exit(0)

    def _grace_is_over(self) -> bool:
        self._drained_at = self._drained_at or time.monotonic()
        return time.monotonic() > self._drained_at + self._place.settings.stop_grace_seconds

    def _leave(self) -> None:
        try:
            with self._place.database.transaction() as session:
                service.leave(session, self._place.name)
        except DBAPIError as failed:
            log.warning("cannot remove this worker from the list: %s", failed.orig)

    def _end(self, complaint: str) -> None:
        log.critical("this worker is stuck and exits: %s", complaint)
        self._place.condition.complaint = complaint
        self._place.condition.changed.set()
        time.sleep(SAID_SECONDS)
        os._exit(WEDGED)
