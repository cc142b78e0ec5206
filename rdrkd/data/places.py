"""Paths in a data YAML or a list: of this machine, of another one, or of Windows."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from rdrkd.data.names import composed


class OnDisk:
    """Finds paths whose names have another Unicode composition on disk (Mac); caches folder listings."""

    def __init__(self) -> None:
        self._listed: dict[Path, Mapping[str, str]] = {}  # folder -> composed name -> name on disk

    def find(self, path: Path) -> Path:
        """Return the path as on disk; unchanged if nothing there has its name."""
        if str(path).isascii() or path.exists():
            return path
        folder = self.find(path.parent)
        if folder not in self._listed:
            self._listed[folder] = {composed(p.name): p.name for p in folder.iterdir()} if folder.is_dir() else {}
        return folder / self._listed[folder].get(composed(path.name), path.name)


def resolved(place: str, root: Path, within: Path | None) -> tuple[Path, bool]:
    """Resolve a path in a data YAML, and return whether only its end exists here, as for another machine's path.

    Args:
        place: the path as written.
        root: the folder that it is relative to.
        within: for an upload, the folder that paths must not leave.
    """
    if "\\" in place and not PureWindowsPath(place).drive and not (root / place).exists():
        place = place.replace("\\", "/")  # written on Windows
    disk = OnDisk()
    there = disk.find(settled(root / place, within))
    if place.startswith("../") and not _is_here(there, within):
        there = disk.find(settled(root / place[3:], within))  # Roboflow; Ultralytics reads it the same way
    if not _is_here(there, within) and is_foreign(place):
        parts = parts_of(place)
        ends = (disk.find(settled(root / Path(*parts[start:]), within)) for start in range(1, len(parts)))
        if (end := next((end for end in ends if _is_here(end, within)), None)) is not None:
            return end, True
    return there, False


def settled(path: Path, within: Path | None) -> Path:
    """Return a path without `..`.

    Archives hold no links. Links in a local folder are not resolved, as labels are found by the unresolved path.
    """
    return path.resolve() if within is not None else Path(os.path.normpath(path))


def is_inside(path: Path, within: Path | None) -> bool:
    """Return whether a path stays within a folder; True without one."""
    return within is None or path.is_relative_to(within.resolve())


def is_foreign(path: str) -> bool:
    """Return whether a path is absolute, here or on Windows, or relative to Ultralytics' downloads."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute() or path.startswith("../datasets")


def parts_of(place: str) -> tuple[str, ...]:
    r"""Return the parts of a path from any operating system.

    >>> parts_of("./a/b.png"), parts_of("a\\b.png"), parts_of("/a/b.png")
    (('a', 'b.png'), ('a', 'b.png'), ('/', 'a', 'b.png'))
    """
    return PureWindowsPath(place).parts if "\\" in place else PurePosixPath(place).parts


def is_plain(path: str) -> bool:
    r"""Return whether a path can be a line of a list: it is UTF-8, and has no control characters.

    >>> is_plain("/d/über 7.png"), is_plain("/d/a\n.png"), is_plain("/d/\udcff.png")
    (True, False, False)
    """
    return not any(ord(letter) < 32 or ord(letter) == 127 or "\ud800" <= letter <= "\udfff" for letter in path)


def _is_here(path: Path, within: Path | None) -> bool:
    return path.exists() and is_inside(path, within)
