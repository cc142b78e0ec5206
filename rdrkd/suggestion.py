"""Suggest the name that a mistyped one was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 80  # characters of a name for which a similar one is sought: the search is slow for long texts


def nearest(name: str, among: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the most similar name; None if none is similar.

    >>> nearest("rdr-kdd", ["rdr-kd", "cwd"]), nearest("x", ["rdr-kd", "cwd"])
    ('rdr-kd', None)
    """
    near = get_close_matches(name, list(among), n=1, cutoff=cutoff) if len(name) <= LONGEST else []
    return near[0] if near else None


def suggestion(name: str, among: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the end of a refusal that asks about the most similar name; empty if none is similar.

    >>> suggestion("trian", ["train", "val"]), suggestion("colour", ["train", "val"])
    ('; did you mean `train`?', '')
    """
    near = nearest(name, among, cutoff)
    return "" if near is None else f"; did you mean `{near}`?"
