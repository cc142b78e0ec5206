"""Wake-up messages that Celery's thread has received, for the thread that claims rows (`worker.claim_loop`).

A message only shortens the wait: the claiming thread also polls the database on a timer, so a lost one costs no work.
"""

import threading
from contextvars import Context, copy_context

MOST_MESSAGES = 64  # kept for the log and the trace; the oldest are dropped


class WakeUps:
    """Received messages by row, each with the log and trace context of the request that sent it."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._contexts: dict[str, Context] = {}

    def receive(self, row_id: str) -> None:
        """Wake the worker, and keep the context of the message for the work on this row."""
        with self._lock:
            self._contexts[row_id] = copy_context()
            while len(self._contexts) > MOST_MESSAGES:
                del self._contexts[next(iter(self._contexts))]
        self._woken.set()

    def wake(self) -> None:
        """Wake the worker without a message; safe in a signal handler."""
        self._woken.set()

    def wait(self, seconds: float) -> None:
        """Wait for a message, at most this long."""
        self._woken.wait(seconds)
        self._woken.clear()

    def context_of(self, row_id: str) -> Context:
        """Return and drop the context of the message for this row, or return an empty one if there was no message."""
        with self._lock:
            return self._contexts.pop(row_id, None) or Context()

    def clear(self) -> None:
        """Drop all messages: there is no work left, so other workers have taken the rows."""
        with self._lock:
            self._contexts.clear()
