"""Suggest the name that a mistyped one was meant to be."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

LONGEST = 80  # characters of a name for which a similar one is sought: the search is slow for long texts
_FILES = 1000  # files of a folder that are compared
_ALIKE = 0.7  # similarity of file names, which share their suffix


def nearest(name: str, among: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the most similar name, whatever its case; None if none is similar.

    >>> nearest("rdr-kdd", ["rdr-kd", "cwd"]), nearest("adamw", ["SGD", "AdamW"]), nearest("x", ["rdr-kd", "cwd"])
    ('rdr-kd', 'AdamW', None)
    """
    if len(name) > LONGEST:
        return None
    names = {each.lower(): each for each in among}
    near = get_close_matches(name.lower(), names, n=1, cutoff=cutoff)
    return names[near[0]] if near else None


def suggestion(name: str, among: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the end of a refusal that asks about the most similar name; empty if none is similar.

    >>> suggestion("trian", ["train", "val"]), suggestion("colour", ["train", "val"])
    ('; did you mean `train`?', '')
    """
    near = nearest(name, among, cutoff)
    return "" if near is None else f"; did you mean `{near}`?"


def file_suggestion(path: Path | str, typed: str | None = None) -> str:
    """Return the end of a refusal of a path at which there is nothing; it asks about a similar name in its folder.

    `typed` is the path as its owner wrote it, if that is relative to another folder than the current one.

    >>> file_suggestion("/nowhere/teacher.pt")
    ''
    """
    path = Path(path)
    near = nearest(path.name, islice(_neighbours(path), _FILES), _ALIKE)
    return "" if near is None else f"; did you mean `{Path(path if typed is None else typed).parent / near}`?"


def _neighbours(path: Path) -> Iterator[str]:
    """Yield the names in a path's folder that have its suffix: folders, if it has none."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and (entry.is_dir() if not path.suffix else
                                                   _form(Path(entry.name)) == _form(path)):  # fmt: skip
                yield entry.name


def _form(path: Path) -> str:
    """Return a file's suffix, the same for both of YAML's."""
    return path.suffix.lower().replace(".yml", ".yaml")
