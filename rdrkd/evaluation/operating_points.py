"""Precision, recall and F1 of a detector at one confidence threshold for all classes: at 0.25, and where F1 is best.

Detections and objects of all classes are counted together, so the figures describe the boxes drawn in a picture: a
precision of 80 % means that eight of ten drawn boxes are correct. Ultralytics' own precision and recall are means over
the classes, in which a class without any detection has a precision of 1. A detection is correct if it has the class of
an object and an IoU of at least 0.5 with it; an object counts once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

USUAL = 0.25  # Ultralytics' default for predictions
_THRESHOLDS = np.arange(1, 1000) / 1000  # the evaluation keeps detections from 0.001 on


def operating_points(
    scores: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_], objects: int
) -> dict[str, dict[str, float | None]]:
    """Return the figures at the usual confidence and at the one with the best F1.

    Args:
        scores: (N,) confidence of each detection.
        right: (N,) whether it is correct.
        objects: number of objects to find.

    Returns:
        `usual` and `best_f1`, each `confidence` (detections with a higher score count), and `precision`, `recall` and
        `f1` in percent; None without detections or objects. Among equal F1, the lowest
        confidence is chosen; without any correct detection, the usual one.

    >>> found = operating_points(np.array([0.9, 0.6, 0.2, 0.1]), np.array([True, False, True, False]), 2)
    >>> found["usual"]
    {'confidence': 0.25, 'precision': 50.0, 'recall': 50.0, 'f1': 50.0}
    >>> found["best_f1"]
    {'confidence': 0.1, 'precision': 66.667, 'recall': 100.0, 'f1': 80.0}
    """
    order = np.argsort(scores, kind="stable")
    ordered, hits = np.asarray(scores, dtype=np.float64)[order], np.asarray(right, dtype=np.int64)[order]
    found_from = np.append(np.cumsum(hits[::-1])[::-1], 0)  # correct ones from each index on
    first = np.searchsorted(ordered, _THRESHOLDS, side="right")
    detected, correct = len(ordered) - first, found_from[first]
    f1 = 2 * correct / np.maximum(detected + objects, 1)
    usual = int(np.flatnonzero(np.isclose(_THRESHOLDS, USUAL))[0])
    best = int(f1.argmax()) if f1.max() > 0 else usual
    return {
        name: _figures(float(_THRESHOLDS[at]), int(detected[at]), int(correct[at]), objects)
        for name, at in (("usual", usual), ("best_f1", best))
    }


def threshold_of(metrics: Mapping[str, Any] | None) -> float:
    """Return the best-F1 confidence from a result's metrics; the usual one if absent.

    >>> threshold_of({"operating_points": {"best_f1": {"confidence": 0.08}}}), threshold_of({})
    (0.08, 0.25)
    """
    points = (metrics or {}).get("operating_points") or {}
    return float(points.get("best_f1", {}).get("confidence", USUAL))


def _figures(confidence: float, detected: int, correct: int, objects: int) -> dict[str, float | None]:
    return {
        "confidence": confidence,
        "precision": _percent(correct, detected),
        "recall": _percent(correct, objects),
        "f1": _percent(2 * correct, detected + objects) if objects else None,
    }


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 3) if whole else None
