"""Read server-sent events as they arrive."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass
class Sent:
    """One event of a stream."""

    event: str = ""
    data: str = ""
    id: str = ""


def parse(lines: Iterable[str]) -> Iterator[Sent | str]:
    """Parse the lines of a stream; yield each event, and each comment as text."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield line[1:].strip()
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
        elif fields:
            yield Sent(**fields)
            fields = {}


def events(lines: Iterable[str]) -> Iterator[Sent]:
    """Yield only the events."""
    return (item for item in parse(lines) if isinstance(item, Sent))
