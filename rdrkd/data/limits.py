"""The limits of an archive: its size, and the names of its entries."""

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
    """Limits of an archive's content; bytes are counted after unpacking."""

    entries: int = 200_000
    total_bytes: int = 32 << 30
    file_bytes: int = 512 << 20
    ratio: float = 100.0  # unpacked / packed bytes, of each file and of the whole archive
    ratio_floor: int = 4 << 20  # unpacked bytes below which the ratio is not checked
    depth: int = 8  # path components
    path_bytes: int = 400
    problems: int = 100
    room: Callable[[int], None] = field(default=lambda size: None, compare=False, repr=False)  # called before a write

    def guard(self, where: str, unpacked: int, packed: int, most: int) -> None:
        """Refuse content that unpacks to more than `most` bytes, or to too many times its packed size.

        Raises:
            DatasetError: a limit is exceeded.
        """
        if unpacked > most:
            detail = f"expected at most {most} bytes unpacked, got more"
        elif unpacked > self.ratio_floor and unpacked > self.ratio * max(packed, 1):
            detail = f"expected at most {self.ratio:g} times the packed size, got more"
        else:
            return
        raise DatasetError(f"{where}: {detail}", [Problem(where, detail)])

    def guard_number(self, entries: int) -> None:
        """Refuse too many entries.

        Raises:
            DatasetError: there are more than the limit.
        """
        if entries > self.entries:
            raise DatasetError(f"expected at most {self.entries} archive entries, got {entries}")


def name_fault(name: str, limits: Limits) -> str | None:
    """Return the fault of an entry's name, with `/` between its parts, or None."""
    if len(name) > limits.path_bytes:  # first: the other checks visit each character, and a header can hold megabytes
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
    """Return the key under which a skipped entry is counted: its suffix, or its name."""
    path = PurePosixPath(name)
    return path.suffix.lower() or path.name


def duplicates(names: Iterable[str]) -> list[Problem]:
    """Return a problem for each name that is repeated on a file system that ignores case or composes names (Mac)."""
    counted = Counter(folded(name.rstrip("/")) for name in names)
    return [Problem(ascii(name), f"expected each name once, got it {n} times") for name, n in counted.items() if n > 1]


def refuse(problems: list[Problem], limits: Limits) -> None:
    """Refuse an archive with faulty entries.

    Raises:
        DatasetError: there are problems.
    """
    if problems:
        first = problems[0]
        raise DatasetError(
            f"the archive holds {len(problems)} entries that are refused; {first.where}: {first.detail}",
            problems[: limits.problems],
        )
