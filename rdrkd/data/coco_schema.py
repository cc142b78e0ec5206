"""The values of COCO JSON: strict about their meaning, tolerant of exporters' notations.

An integer may be written `3`, `3.0` or `"3"`, a flag also `true`, `null` or not at all, a name also as a number.
Ambiguous values are faults, never guessed. All reading of COCO JSON goes through this module.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rdrkd.data.names import composed

_MOST_DIGITS = 20  # of an integer written as text; enough for 64-bit ids
_FARTHEST = 1e9  # px of a box; areas of larger ones lose precision
_LARGEST = 2**64  # of integers: larger ones are not ids, and may not convert to float


@dataclass(frozen=True)
class Category:
    """A declared category; a group if another category names it as its supercategory."""

    id: int
    name: str
    is_group: bool


@dataclass(frozen=True)
class ImageEntry:
    """An entry of `images`: the name as written, width and height in px."""

    id: int
    file: str
    width: int
    height: int


def integer(value: Any) -> int | None:
    """Return a value as an integer; None if it is none.

    >>> [integer(value) for value in (3, 3.0, "3", " 3 ", True, 3.5, "3.5", "x", None, [3], 10**400)]
    [3, 3, 3, 3, None, None, None, None, None, None, None]
    """
    if isinstance(value, bool):
        return None
    found = None
    if isinstance(value, int):
        found = value
    elif isinstance(value, float) and value.is_integer():
        found = int(value)
    elif isinstance(value, str):
        text = value.strip().removesuffix(".0")
        digits = text.removeprefix("-")
        found = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS else None
    return found if found is not None and abs(found) <= _LARGEST else None


def flag(value: Any) -> bool | None:
    """Return a value as a flag, False if missing; None if it is none.

    >>> [flag(value) for value in (0, 1, "0", "1", 1.0, True, None, "yes", 2)]
    [False, True, False, True, True, True, False, None, None]
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    number = integer(value)
    return bool(number) if number in (0, 1) else None


def number(value: Any) -> float | None:
    """Return a value as a finite number; None if it is none.

    >>> [number(value) for value in (1, 2.5, "2.5", float("nan"), True, None, "1e999", [1], 10**400)]
    [1.0, 2.5, 2.5, None, None, None, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def name(value: Any) -> str | None:
    """Return a category's name as text without surrounding space, composed (NFC); None if it has none.

    >>> name("cafe\u0301 "), name(1), name(1.0), name(None), name(True)
    ('café', '1', '1', None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() else value
    return composed(str(value)).strip() or None


def box(value: Any) -> tuple[float, float, float, float] | None:
    """Return a bbox's x, y, width, height in px; None if it is invalid or has no size.

    >>> box([1, "2", 3.5, 4]), box([1, 2, 0, 4]), box([1, 2, 3]), box(None)
    ((1.0, 2.0, 3.5, 4.0), None, None, None)
    """
    if not (isinstance(value, list) and len(value) == 4):
        return None
    x, y, width, height = (number(part) for part in value)
    if x is None or y is None or width is None or height is None or width <= 0 or height <= 0:
        return None
    if max(map(abs, (x, y, width, height))) > _FARTHEST:
        return None
    return x, y, width, height


def outline(value: Any) -> tuple[float, float, float, float] | None:
    """Return the bounding box of polygons, each a list x1, y1, x2, y2, ..., as x, y, width, height in px.

    >>> outline([[1, 1, 5, 1, 5, 4], [2, "2", 7, 2, 7, 3]]), outline([[1, 1, 5, 1]]), outline({"counts": "..."})
    ((1.0, 1.0, 6.0, 3.0), None, None)
    """
    if not (isinstance(value, list) and value):
        return None
    points: list[float] = []
    for polygon in value:
        numbers = [number(part) for part in polygon] if isinstance(polygon, list) else []
        known = [part for part in numbers if part is not None]
        if len(numbers) < 6 or len(numbers) % 2 or len(known) < len(numbers):
            return None
        points += known
    left, top, right, bottom = min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
    return box([left, top, right - left, bottom - top])


def categories(entries: list[dict[str, Any]]) -> list[Category] | str:
    """Return the categories in the order of their ids, or a description of their fault."""
    children = Counter(name(entry.get("supercategory")) for entry in entries)
    found: dict[int, Category] = {}
    for entry in entries:
        id_, called = integer(entry.get("id")), name(entry.get("name"))
        if id_ is None or id_ in found:
            ids = str([entry.get("id") for entry in entries[:20]])[:200]
            return f"expected distinct integers as ids, got {ids}"
        if called is None:
            return f"expected a text or a number as the name of category {id_}, got {str(entry.get('name'))[:80]}"
        own = name(entry.get("supercategory")) == called  # some tools repeat the name of each category
        found[id_] = Category(id_, called, is_group=children[called] > own)
    if not found:
        return "expected at least one category, got none"
    return [found[id_] for id_ in sorted(found)]


def image(entry: dict[str, Any]) -> ImageEntry | str:
    """Return an entry of `images`, or a description of its fault."""
    id_, file = integer(entry.get("id")), entry.get("file_name")
    if id_ is None or not isinstance(file, str) or not file.strip():
        return f"expected an integer `id` and a text `file_name`, got {str([entry.get('id'), file])[:80]}"
    width, height = integer(entry.get("width")), integer(entry.get("height"))
    if width is None or height is None or width <= 0 or height <= 0:
        return f"expected `width` and `height` in px, got {str([entry.get('width'), entry.get('height')])[:80]}"
    return ImageEntry(id_, file, width, height)
