"""A child process that is restarted when it dies, and that dies with its parent."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rdrkd.process.die_with_parent import follow_parent
from rdrkd.process.secret_hiding import hand_over

LONGEST_PAUSE = 30.0  # seconds between restarts of a child that keeps dying


class Supervised:
    """A child process that is restarted with exponential backoff."""

    def __init__(self, name: str, module: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        """Start `python -m <module>`; its output goes to `<logs>/<name>.log`."""
        self.name, self._module = name, module
        self._environment, self._handed_over = hand_over(environment)
        self._log = logs / f"{name}.log"
        self._pause, self._start_at = 0.5, 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the process; its output goes to its log."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._module],
                env=self._environment,
                pass_fds=[self._handed_over],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only this process, which stops its children in order
                preexec_fn=lambda: follow_parent(signal.SIGTERM),  # noqa: PLW1509 - no other thread runs here
            )
        self._started = time.monotonic()

    def look(self) -> int | None:
        """Restart a dead child once its backoff is over; return its exit status if it has just died."""
        if self.process is not None and (status := self.process.poll()) is not None:
            lived = time.monotonic() - self._started
            self._pause = 0.5 if lived > LONGEST_PAUSE else min(2 * self._pause, LONGEST_PAUSE)
            self._start_at, self.process = time.monotonic() + self._pause, None
            return status
        if self.process is None and time.monotonic() >= self._start_at:
            self.start()
        return None

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.process is not None:
            self.process.terminate()

    def end(self, until: float) -> None:
        """Wait until the moment `until` (monotonic), then kill."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
