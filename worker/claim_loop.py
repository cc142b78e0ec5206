"""The claim loop of a worker: one thread that claims rows, one at a time, and works on them.

It polls the database at every wake-up message and every few seconds. Broker failures cannot block it, since Celery's
threads only leave messages (`worker.wakeups`). While a disk of the worker is nearly full, the loop claims nothing.
"""

import logging
import random
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from worker.background import Background
from worker.disk_space import shortage
from worker.workplace import Workplace

log = logging.getLogger(__name__)

Work = Callable[[], None]
Claim = Callable[[Workplace], Work | None]  # claims a row; returns the work on it, or None when there is none
JITTER = 0.3  # fraction of the polling interval, so that several workers do not poll in step


class ClaimLoop(Background):
    """As a context manager: polls for work from the block's start until `Workplace.draining` is set."""

    def __init__(self, place: Workplace, claim: Claim) -> None:
        # Not a daemon: a trainer dies with the thread that started it.
        super().__init__("claims", daemon=False)
        self._place, self._claim = place, claim
        self._looking_since: float | None = None  # monotonic; None while it works or waits

    def end(self) -> None:
        """Claim nothing more; work in progress continues to its end unless the worker is drained."""
        super().end()
        self._place.wakeups.wake()

    def is_open(self) -> bool:
        """Return whether the thread is still running."""
        return self.thread.is_alive()

    def stuck(self) -> str | None:
        """Return what has blocked the thread for longer than it may, or None."""
        limit, now = self._place.settings.wedged_seconds, time.monotonic()
        if (since := self._looking_since) is not None and now - since > limit:
            return f"expected an answer to the query for work within {limit:g} s, got none for {now - since:.0f} s"
        if self.thread.ident is not None and not self.is_open() and not self._is_to_end():
            return "expected the claiming thread to keep running, but it has ended"
        lease = self._place.lease.current
        if lease is not None and (over := lease.overdue_seconds()) > limit:
            return f"expected the work to stop on the order `{lease.order}`, but it still runs {over:.0f} s later"
        return None

    def _run(self) -> None:
        while not self._is_to_end():
            try:
                worked = self._has_room() and self._work()
            except DBAPIError as error:
                log.error("cannot poll for work: %s", error.orig)
                worked = False
            except Exception:  # the thread must survive any failure with one row, whose lease then expires
                log.exception("failed to poll for work or to work on a claimed row")
                worked = False
            if not worked:
                self._wait()

    def _is_to_end(self) -> bool:
        return self._place.draining.is_set() or self.ended.is_set()

    def _work(self) -> bool:
        self._looking_since = time.monotonic()
        try:
            work = self._claim(self._place)
        finally:
            self._looking_since = None
        if work is not None:
            work()
        return work is not None

    def _wait(self) -> None:
        self._place.wakeups.clear()
        seconds = self._place.settings.look_seconds
        self._place.wakeups.wait(seconds * random.uniform(1 - JITTER, 1 + JITTER))

    def _has_room(self) -> bool:
        complaint = shortage(self._place)
        if complaint != self._place.condition.complaint:
            self._place.condition.complaint = complaint
            if complaint is not None:
                log.error("claiming no work until there is enough disk space: %s", complaint)
            else:
                log.info("enough disk space again: claiming work")
        return complaint is None
