"""Where Celery's thread leaves word that there is work. It never waits here, and nothing that waits here is lost work.

A ring only shortens the wait: the worker's own thread (`worker.slot`) looks for rows on a timer as well.
"""

import threading
from contextvars import Context, copy_context

MOST_RINGS = 64  # remembered for the log and the trace; the oldest are forgotten


class Bell:
    """Rings by row, each with the log and trace context of the request that rang."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._lock = threading.Lock()
        self._rings: dict[str, Context] = {}

    def ring(self, row_id: str) -> None:
        """Wake the worker, and remember on whose behalf."""
        with self._lock:
            self._rings[row_id] = copy_context()
            while len(self._rings) > MOST_RINGS:
                del self._rings[next(iter(self._rings))]
        self._rung.set()

    def wake(self) -> None:
        """Wake the worker to look around; safe in a signal handler."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Wait for a ring, but no longer than this."""
        self._rung.wait(seconds)
        self._rung.clear()

    def context_of(self, row_id: str) -> Context:
        """Return the context of the request that rang for this row, or an empty one where none did."""
        with self._lock:
            return self._rings.pop(row_id, None) or Context()

    def forget(self) -> None:
        """Forget the rings so far: there is no work, so others have taken what they rang for."""
        with self._lock:
            self._rings.clear()
