"""Ends a worker that is wedged, so that whatever keeps it running starts a new one.

A thread can be stuck in a call that never returns; a process can always be ended. Nothing is lost by that: the row is
the truth, and a trainer ends with its worker.
"""

import logging
import os
import threading
import time
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from api.jobs.workers import service
from worker.slot import Slot
from worker.workplace import Workplace

log = logging.getLogger(__name__)

WEDGED = 70  # exit status: EX_SOFTWARE
SAID_SECONDS = 2.0  # for the presence to say so, at most


class Watchdog:
    """As a context manager: watches a slot while the block runs, and sees to it that a drained worker does end."""

    def __init__(self, place: Workplace, slot: Slot) -> None:
        self._place, self._slot = place, slot
        self._ended = threading.Event()
        self._drained_at: float | None = None  # monotonic; when the drained slot was first seen empty
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._place.settings.cancel_poll_seconds):
            if (complaint := self._slot.stuck()) is not None:
                self._end(complaint)
            if self._place.draining.is_set() and not self._slot.is_open() and self._grace_is_over():
                log.warning("Celery does not let the broker go: the worker ends without it")
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
            log.warning("cannot say that this worker is gone: %s", failed.orig)

    def _end(self, complaint: str) -> None:
        log.critical("this worker is wedged and ends: %s", complaint)
        self._place.condition.complaint = complaint
        self._place.condition.changed.set()
        time.sleep(SAID_SECONDS)
        os._exit(WEDGED)
