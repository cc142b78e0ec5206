"""Find the objects that a network misses, and the images in which it misses the most small ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]  # (N, 5) rows of class, x, y, width, height in px; of detections (N, 6), with the score

SMALL = 32**2  # px^2: COCO's limit of small objects
_IOU = 0.5  # least IoU of a detection with the object that it finds


def missed(truth: Boxes, found: Boxes) -> list[int]:
    """Return the indices of the objects that no detection of their class finds; each detection finds at most one.

    >>> truth = np.array([[0, 0, 0, 10, 10], [0, 50, 50, 10, 10], [1, 80, 80, 10, 10.0]])
    >>> missed(truth, np.array([[0, 1, 0, 10, 10, 0.9], [0, 0, 1, 10, 10, 0.8], [0, 80, 80, 10, 10, 0.7]]))
    [1, 2]
    """
    left = np.ones(len(truth), dtype=bool)
    overlap = _overlap(truth, found) * (truth[:, :1] == found[None, :, 0])
    for detection in np.argsort(-found[:, 5], kind="stable"):
        column = np.where(left, overlap[:, detection], 0.0)
        if len(column) and column.max() >= _IOU:
            left[column.argmax()] = False
    return [int(place) for place in np.flatnonzero(left)]


def worst(truths: Sequence[Boxes], found: Sequence[Boxes], most: int) -> list[int]:
    """Return the indices of the images with the most missed small objects, ties by all missed objects; worst first.

    Args:
        truths: the objects of each image.
        found: the detections in each image.
        most: how many images.
    """
    misses = [truth[missed(truth, each)] for truth, each in zip(truths, found, strict=True)]
    return sorted(range(len(truths)), key=lambda place: (-len(small(misses[place])), -len(misses[place]), place))[:most]


def small(boxes: Boxes) -> list[int]:
    """Return the indices of small boxes."""
    return [int(place) for place in np.flatnonzero(boxes[:, 3] * boxes[:, 4] < SMALL)]


def _overlap(one: Boxes, other: Boxes) -> npt.NDArray[np.float64]:
    """Return the IoU (N, M) of boxes."""
    low, low_ = one[:, None, 1:3], other[None, :, 1:3]
    size, size_ = one[:, None, 3:5], other[None, :, 3:5]
    shared = (np.minimum(low + size, low_ + size_) - np.maximum(low, low_)).clip(min=0).prod(2)
    return np.asarray(shared / np.maximum(size.prod(2) + size_.prod(2) - shared, 1e-9))
