"""Average precision in slow loops that read like the protocol's description; the reference of test_coco_metrics."""

from collections.abc import Sequence
from typing import Any

AREAS = {"all": (0, 1e10), "S": (0, 32**2), "M": (32**2, 96**2), "L": (96**2, 1e10)}
IOUS = [0.5 + 0.05 * i for i in range(10)]


def average_precision(
    truth: Any, detections: Sequence[Sequence[float]], area: str, ious: list[float], most: int
) -> float | None:
    """AP in percent, over the classes that have objects of the area; None where none has."""
    low, high = AREAS[area]
    values = []
    for category in truth["categories"]:
        for iou in ious:
            value = _one(truth, detections, category["id"], iou, low, high, most)
            if value is not None:
                values.append(value)
    return 100 * sum(values) / len(values) if values else None


def _one(truth: Any, detections: Any, category: int, iou: float, low: float, high: float, most: int) -> float | None:
    hits: list[tuple[float, bool]] = []  # (score, true positive) of the detections that count
    positives = 0
    for image in truth["images"]:
        objects = [a for a in truth["annotations"] if (a["image_id"], a["category_id"]) == (image["id"], category)]
        ignored = [a["iscrowd"] == 1 or not low <= a["area"] <= high for a in objects]
        positives += ignored.count(False)
        found = [d for d in detections if (int(d[0]), int(d[6])) == (image["id"], category)]
        found = sorted(found, key=lambda d: -d[5])[:most]
        taken = [False] * len(objects)
        for d in found:
            match = _best(d, objects, ignored, taken, iou)
            if match is None:
                if low <= d[3] * d[4] <= high:  # outside the range an unmatched detection is ignored
                    hits.append((d[5], False))
                continue
            taken[match] = True
            if not ignored[match]:
                hits.append((d[5], True))
    return _interpolated(hits, positives) if positives else None


def _best(d: Any, objects: Any, ignored: list[bool], taken: list[bool], iou: float) -> int | None:
    """The free object with the largest overlap of at least `iou`: a counted one before any ignored one."""
    for wanted in (False, True):
        best, match = iou, None
        for i, a in enumerate(objects):
            if ignored[i] == wanted and (not taken[i] or a["iscrowd"]):
                overlap = _overlap(d[1:5], a["bbox"], a["iscrowd"])
                if overlap >= best - 1e-10:
                    best, match = overlap, i
        if match is not None:
            return match
    return None


def _overlap(d: Sequence[float], g: Sequence[float], crowd: int) -> float:
    """IoU; with a crowd the share of the detection that lies in it."""
    wide = min(d[0] + d[2], g[0] + g[2]) - max(d[0], g[0])
    high = min(d[1] + d[3], g[1] + g[3]) - max(d[1], g[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / (d[2] * d[3] if crowd else d[2] * d[3] + g[2] * g[3] - shared)


def _interpolated(hits: list[tuple[float, bool]], positives: int) -> float:
    """The mean over recalls 0, .01, .., 1 of the best precision at that recall or beyond."""
    hits.sort(key=lambda hit: -hit[0])
    points = []
    right = 0
    for seen, (_, hit) in enumerate(hits, 1):
        right += hit
        points.append((right / positives, right / seen))
    recalls = [i / 100 for i in range(101)]
    return sum(max((p for r, p in points if r >= wanted - 1e-12), default=0.0) for wanted in recalls) / 101
