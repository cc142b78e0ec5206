"""Clocks of their own for processes of the service, put forward and back while they run: libfaketime, from a wheel.

Only the time of day is moved, as by whoever sets a machine's clock: the monotonic clock goes on.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBRARY = "vendor/libfaketime/src/libfaketime.so.1"


class Clock:
    """The clock of all processes that are started with its environment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._set(0)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables for the processes; none where the library is not installed."""
        library = _library()
        if library is None:
            return {}
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds until a change is seen
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    @contextmanager
    def wrong(self, seconds: int) -> Iterator[None]:
        """Put it forward, or back, for a while."""
        self._set(seconds)
        try:
            yield
        finally:
            self._set(0)

    def _set(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)  # a process reads it whole or not at all


def possible() -> bool:
    """Return whether clocks can be moved here."""
    return _library() is not None


def _library() -> Path | None:
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    library = Path(found.origin).parent / _LIBRARY
    return library if library.is_file() else None
