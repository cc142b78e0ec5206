"""Advise on the input size for a dataset's objects, from its check, without opening files.

Commands and service share this, so it takes only counts.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from rdrkd.run_warnings import EASY, TOO_SMALL

_STEP, _USUAL, _LARGEST = 32, 640, 4096  # px; the usual size is that of official weights
_SHARE = 0.25  # of the objects may be smaller than `EASY` px


class Advice(NamedTuple):
    """The setting, its recommended value, and the reason."""

    setting: str
    value: Any
    why: str


def imgsz_for(split: Mapping[str, Any], given: int | None = None) -> Advice | None:
    """Return the recommended side of the network input, px, for a split's statistics; None without objects.

    At this size three of four objects have `EASY` px. It is never larger than the images, as enlarging them costs time
    and adds no detail, nor smaller than 640 px unless they are. With a `given` size, the reason compares it.

    >>> histogram = {"edges": [0, 8, 16, 32], "counts": [0, 40, 60, 0]}
    >>> imgsz_for({"image_width": {"max": 1920}, "image_height": {"max": 1080}, "size_histogram": histogram}).value
    1184
    """
    histogram = split.get("size_histogram") or {}
    longest = max((split.get(side) or {}).get("max", 0) for side in ("image_width", "image_height"))
    counts = histogram.get("counts") or []
    if not sum(counts) or not longest:
        return None
    small = _quantile(histogram["edges"], counts, _SHARE)
    own = _up(longest)
    wanted = _up(EASY * longest / small)
    value = min(max(wanted, min(_USUAL, own)), own, _LARGEST)
    shown = small * value / longest
    why = (
        f"a quarter of {sum(counts)} objects are below {small:.0f} px in images of {longest} px, which is "
        f"{shown:.1f} px at imgsz {value}"
    )
    if given is not None:
        why += f" and {small * given / longest:.1f} px at imgsz {given}"
    if shown < TOO_SMALL:
        why += ", too few for any detector: cut the images into tiles"
    return Advice("imgsz", value, why)


def _quantile(edges: Sequence[float], counts: Sequence[int], share: float) -> float:
    """Return the quantile of the objects' sides, interpolated within its bin.

    >>> _quantile([0, 8, 16, 32], [10, 20, 10, 0], 0.5)
    12.0
    """
    wanted = share * sum(counts)
    for place, upto in enumerate(accumulate(counts)):
        if upto >= wanted and counts[place]:
            low, high = edges[place], [*edges, 2 * edges[-1]][place + 1]
            return max(0.5, low + (high - low) * (wanted - (upto - counts[place])) / counts[place])
    raise AssertionError("no objects")


def _up(side: float) -> int:
    return max(_STEP, math.ceil(side / _STEP) * _STEP)
