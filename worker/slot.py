"""The slot of a worker: one thread that looks for rows at every ring and every few seconds, and works on one at a time.

The broker cannot hold it: Celery's threads only ring (`worker.bell`). While the disk of the run folders is nearly full
it takes nothing, since whatever it took would fail.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from worker.room import shortage
from worker.workplace import Workplace

log = logging.getLogger(__name__)

Work = Callable[[], None]
Claim = Callable[[Workplace], Work | None]  # claims a row; returns the work on it, or None when there is none
JITTER = 0.3  # share by which the looks of several workers spread


class Slot:
    """As a context manager: looks for work from the block's start until `Workplace.draining` is set."""

    def __init__(self, place: Workplace, claim: Claim) -> None:
        self._place, self._claim = place, claim
        self._retired = threading.Event()
        self._looking_since: float | None = None  # monotonic; None: it works, or waits
        # No daemon: a trainer ends with the thread that has started it.
        self._thread = threading.Thread(target=self._run, name="slot")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.retire()
        self._thread.join()

    def retire(self) -> None:
        """Take nothing more; what is under way goes on to its end, unless the worker is drained."""
        self._retired.set()
        self._place.bell.wake()

    def is_open(self) -> bool:
        """Return whether the thread still runs."""
        return self._thread.is_alive()

    def stuck(self) -> str | None:
        """Return what holds the slot for longer than anything should, or None."""
        limit, now = self._place.settings.wedged_seconds, time.monotonic()
        if (since := self._looking_since) is not None and now - since > limit:
            return f"expected to know within {limit:g} s whether there is work, got no answer for {now - since:.0f} s"
        if self._thread.ident is not None and not self.is_open() and not self._is_to_end():
            return "expected the thread that works to go on, it has ended"
        lease = self._place.lease.current
        if lease is not None and (over := lease.overdue_seconds()) > limit:
            return f"expected the work to stop that has the order `{lease.order}`, it goes on {over:.0f} s later"
        return None

    def _run(self) -> None:
        while not self._is_to_end():
            try:
                worked = self._has_room() and self._work()
            except DBAPIError as error:
                log.error("cannot look for work: %s", error.orig)
                worked = False
            except Exception:  # the thread must outlive whatever goes wrong with one row, whose lease runs out
                log.exception("cannot look for work, or work on what was found")
                worked = False
            if not worked:
                self._wait()

    def _is_to_end(self) -> bool:
        return self._place.draining.is_set() or self._retired.is_set()

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
        self._place.bell.forget()
        seconds = self._place.settings.look_seconds
        self._place.bell.wait(seconds * random.uniform(1 - JITTER, 1 + JITTER))

    def _has_room(self) -> bool:
        complaint = shortage(self._place)
        if complaint != self._place.condition.complaint:
            self._place.condition.complaint = complaint
            if complaint is not None:
                log.error("takes no work until there is room again: %s", complaint)
            else:
                log.info("there is room again: takes work")
        return complaint is None
