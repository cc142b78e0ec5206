"""The library's interface to its caller: it emits events and polls for a stop request, and knows nothing of jobs."""

import sys
from typing import Protocol, TextIO

from rdrkd.events import Event


class Reporter(Protocol):
    """The interface that a run needs from its caller."""

    def emit(self, event: Event) -> None:
        """Handle one event; must return fast and never raise for a slow reader."""

    def should_stop(self) -> bool:
        """Return whether the run should stop between two batches."""


class Memory:
    """A reporter that keeps events; `stop_after(event)` may be set to stop the run."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stop = False

    def emit(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)

    def should_stop(self) -> bool:
        """Return whether `stop` is set."""
        return self.stop

    def of(self, kind: str) -> list[Event]:
        """Return the events of one kind, in order."""
        return [e for e in self.events if e.event == kind]


class JsonLines:
    """A reporter for programs: one JSON object per line, flushed; stops when `stop` is set (by SIGTERM)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.stop = False

    def emit(self, event: Event) -> None:
        """Write the event as one line."""
        self.stream.write(event.model_dump_json() + "\n")
        self.stream.flush()

    def should_stop(self) -> bool:
        """Return whether a signal requested a stop."""
        return self.stop


class Silent:
    """A reporter that drops events and never stops, for ranks other than the first."""

    def emit(self, event: Event) -> None:
        """Drop the event."""

    def should_stop(self) -> bool:
        """Return False: only the first rank polls for a stop."""
        return False
