"""A thread that lives as long as a `with` block."""

import threading
from types import TracebackType
from typing import Self

from api import log_setup


class Background:
    """As a context manager: run `_run` in a thread until the block ends, in the log context of the caller.

    Attributes:
        ended: set by `end`; `_run` waits on it between its rounds.
    """

    def __init__(self, name: str, daemon: bool = True) -> None:
        self.ended = threading.Event()
        self.thread = threading.Thread(target=log_setup.carrying(self._run), name=name, daemon=daemon)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def end(self) -> None:
        """Ask the thread to end."""
        self.ended.set()

    def close(self) -> None:
        """End the thread, and wait for it."""
        self.end()
        self.thread.join()

    def _run(self) -> None:
        raise NotImplementedError
