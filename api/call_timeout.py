"""Calls to servers that may never respond, with a time limit for the caller."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadline(Generic[T]):
    """A call with a time limit. Concurrent callers share one result, so threads do not pile up."""

    def __init__(self, ask: Callable[[], T], seconds: float) -> None:
        self._ask, self._seconds = ask, seconds
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None

    def __call__(self) -> T | None:
        """Return the result, or None if it does not arrive in time."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                # A daemon: an exiting process must not wait for a frozen server.
                threading.Thread(target=self._answer, args=(self._asked,), name="deadline", daemon=True).start()
            asked = self._asked
        try:
            return asked.result(self._seconds)
        except Late:
            return None

    def _answer(self, asked: Future[T]) -> None:
        try:
            asked.set_result(self._ask())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            asked.set_exception(error)
