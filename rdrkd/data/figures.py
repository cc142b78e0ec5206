"""Statistics of a dataset: images, boxes, classes and sizes."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rdrkd.data.frames import Box

# Upper bounds of a box's side, px of the image: the square root of its area. A bin begins where the previous one ends.
_INF = float("inf")
BINS: Mapping[str, Mapping[str, float]] = {
    "size_bins": {"tiny": 16, "small": 32, "medium": 96, "large": _INF},  # COCO's, its "small" split at "tiny"
    "coco_bins": {"small": 32, "medium": 96, "large": _INF},
    # AI-TOD's, the usual ones of tiny objects (Wang et al., "Tiny Object Detection in Aerial Images", ICPR 2020)
    "tiny_bins": {"very_tiny": 8, "tiny": 16, "small": 32, "medium": 64, "larger": _INF},
}
EDGES = (0, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512)  # px of a side; the last bin has no end


def of_split(
    names: Sequence[str], sizes: Sequence[tuple[int, int]], boxes: Sequence[Collection[Box]], ignored: int
) -> dict[str, Any]:
    """Compute the statistics of a split.

    Args:
        names: class names by class number.
        sizes: width and height, px, of each readable image.
        boxes: boxes of each image.
        ignored: number of the regions and boxes that the evaluation ignores.
    """
    flat = [box for found in boxes for box in found]
    areas = [box.width * box.height for box in flat]
    per_class = Counter(box.label for box in flat)
    counts = [len(found) for found in boxes] or [0]
    shown = sizes or [(0, 0)]
    return {
        "images": len(boxes),
        "boxes": len(flat),
        "ignored_boxes": ignored,
        "per_class": {name: per_class[label] for label, name in enumerate(names)},
        "empty_images": counts.count(0),
        "boxes_per_image": {"mean": round(sum(counts) / len(counts), 2), "max": max(counts)},
        "image_width": {"min": min(w for w, _ in shown), "max": max(w for w, _ in shown)},
        "image_height": {"min": min(h for _, h in shown), "max": max(h for _, h in shown)},
        **{key: _binned(areas, bounds) for key, bounds in BINS.items()},
        "size_histogram": {"edges": list(EDGES), "counts": _histogram(areas)},
    }


def of_all(splits: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum the statistics of the splits."""
    splits = list(splits)
    totals = {key: sum(split[key] for split in splits) for key in ("images", "boxes", "ignored_boxes")}
    per_class = Counter[str]()
    for split in splits:
        per_class.update(split["per_class"])
    return totals | {"per_class": dict(per_class)}


def _binned(areas: Iterable[float], bounds: Mapping[str, float]) -> dict[str, int]:
    found = Counter(next(name for name, side in bounds.items() if area < side**2) for area in areas)
    return {name: found[name] for name in bounds}


def _histogram(areas: Iterable[float]) -> list[int]:
    """Count the boxes of each bin of EDGES.

    >>> _histogram([1.0, 4.0, 15.9, 16.0, 1e9])
    [1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    """
    counts = [0] * len(EDGES)
    for area in areas:
        counts[sum(area >= edge**2 for edge in EDGES) - 1] += 1
    return counts
