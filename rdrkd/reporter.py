"""How the library speaks to the outside: it emits events and asks whether to stop, and knows no job."""

import sys
from typing import Protocol, TextIO

from rdrkd.events import Event


class Reporter(Protocol):
    """What a run needs of its surroundings."""

    def emit(self, event: Event) -> None:
        """Take one event; must return fast and never raise for a slow reader."""

    def should_stop(self) -> bool:
        """Return whether the run should stop between two batches."""


class Memory:
    """A reporter that remembers; `stop_after(event)` may be set to stop the run."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stop = False

    def emit(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)

    def should_stop(self) -> bool:
        """Return what `stop` says."""
        return self.stop

    def of(self, kind: str) -> list[Event]:
        """Return the events of one kind, in order."""
        return [e for e in self.events if e.event == kind]


class JsonLines:
    """A reporter for programs: one JSON object a line, flushed; stops when `stop` is set (by SIGTERM)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.stop = False

    def emit(self, event: Event) -> None:
        """Write the event as one line."""
        self.stream.write(event.model_dump_json() + "\n")
        self.stream.flush()

    def should_stop(self) -> bool:
        """Return whether a signal asked for the stop."""
        return self.stop


class Silent:
    """A reporter that says nothing and never stops: of the ranks beside the first."""

    def emit(self, event: Event) -> None:
        """Drop the event."""

    def should_stop(self) -> bool:
        """Never: the first rank is asked."""
        return False
