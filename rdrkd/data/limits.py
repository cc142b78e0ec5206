"""What an archive may hold: its size, and the names of its entries."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rdrkd.data.names import folded
from rdrkd.errors import DatasetError, Problem
from rdrkd.suffixes import NESTED


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most; bytes are those after unpacking."""

    entries: int = 200_000
    total_bytes: int = 32 << 30
    file_bytes: int = 512 << 20
    ratio: float = 100.0  # unpacked / packed bytes, of each file and of the whole archive
    ratio_floor: int = 4 << 20  # below this many unpacked bytes the ratio says nothing
    depth: int = 8  # path components
    path_bytes: int = 400
    problems: int = 100
    room: Callable[[int], None] = field(default=lambda size: None, compare=False, repr=False)  # called before a write

    def guard(self, where: str, unpacked: int, packed: int, most: int) -> None:
        """Refuse what has unpacked to more than `most` bytes, or to too many times what it was packed in.

        Raises:
            DatasetError: so it is.
        """
        if unpacked > most:
            detail = f"expected at most {most} bytes unpacked, got more"
        elif unpacked > self.ratio_floor and unpacked > self.ratio * max(packed, 1):
            detail = f"expected at most {self.ratio:g} times the packed size, got more"
        else:
            return
        raise DatasetError(f"{where}: {detail}", [Problem(where, detail)])

    def guard_number(self, entries: int) -> None:
        """Refuse more entries than there may be.

        Raises:
            DatasetError: so it is.
        """
        if entries > self.entries:
            raise DatasetError(f"expected at most {self.entries} archive entries, got {entries}")


def name_fault(name: str, limits: Limits) -> str | None:
    """Return what is wrong with an entry's name, `/` between its parts."""
    if len(name) > limits.path_bytes:  # first: the rest looks at each character, and a header can hold megabytes
        return f"expected a path of at most {limits.path_bytes} bytes"
    parts = name.removesuffix("/").split("/")
    if "\\" in name or re.match(r"[A-Za-z]:", name):
        return "expected forward slashes and no drive letter"
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "expected a relative path that stays within the archive"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "expected a name without control characters"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "expected a name in UTF-8"
    if len(name.encode()) > limits.path_bytes or any(len(part.encode()) > 255 for part in parts):
        return f"expected a path of at most {limits.path_bytes} bytes"
    if len(parts) > limits.depth:
        return f"expected at most {limits.depth} nested folders, got {len(parts)}"
    if PurePosixPath(name).suffix.lower() in NESTED:
        return "expected no archive within the archive"
    return None


def skipped_as(name: str) -> str:
    """Return the name under which a skipped entry is counted: its suffix, or its name."""
    path = PurePosixPath(name)
    return path.suffix.lower() or path.name


def duplicates(names: Iterable[str]) -> list[Problem]:
    """Refuse two entries whose names are the same on some disk: one that ignores case, or composes them (Mac)."""
    counted = Counter(folded(name.rstrip("/")) for name in names)
    return [Problem(ascii(name), f"expected each name once, got it {n} times") for name, n in counted.items() if n > 1]


def refuse(problems: list[Problem], limits: Limits) -> None:
    """Refuse an archive for its entries.

    Raises:
        DatasetError: there are problems.
    """
    if problems:
        first = problems[0]
        raise DatasetError(
            f"the archive holds {len(problems)} entries that are refused; {first.where}: {first.detail}",
            problems[: limits.problems],
        )
