"""Questions to servers that may never answer: whoever asks waits for so long and no longer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadline(Generic[T]):
    """A question with a time limit. While one asker waits the others share its answer: no threads pile up."""

    def __init__(self, ask: Callable[[], T], seconds: float) -> None:
        self._ask, self._seconds = ask, seconds
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None

    def __call__(self) -> T | None:
        """Return the answer, or None when it does not come in time."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                # A daemon: a process that ends must not wait for a server that is frozen.
                threading.Thread(target=self._answer, args=(self._asked,), name="deadline", daemon=True).start()
            asked = self._asked
        try:
            return asked.result(self._seconds)
        except Late:
            return None

    def _answer(self, asked: Future[T]) -> None:
        try:
            asked.set_result(self._ask())
        except BaseException as error:  # noqa: BLE001 - the asker raises it
            asked.set_exception(error)
