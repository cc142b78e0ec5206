"""The class names of ignored objects: VisDrone's, in any layout."""

from collections.abc import Iterable

_REGIONS = frozenset({"ignored regions", "ignored region", "ignore regions", "ignored"})  # VisDrone's category 0
_OTHERS = frozenset({"others", "other"})  # VisDrone's category 11, ignored only among VisDrone's classes
_VISDRONE = frozenset({"pedestrian", "people", "tricycle", "awning tricycle"})


def ignored_among(names: Iterable[str]) -> frozenset[str]:
    """Return the names whose boxes count neither for nor against a detector.

    >>> sorted(ignored_among(["car", "Ignored-Regions", "others"]))
    ['Ignored-Regions']
    """
    plain = {name: " ".join(name.casefold().replace("-", " ").replace("_", " ").split()) for name in names}
    marks = _REGIONS | _OTHERS if set(plain.values()) >= _VISDRONE else _REGIONS
    return frozenset(name for name, of in plain.items() if of in marks)


def note(names: Iterable[str]) -> str:
    """Return a sentence on categories that are ignored."""
    return f"boxes of these count neither for nor against a detector: {', '.join(sorted(names)[:20])}"
