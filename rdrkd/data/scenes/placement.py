"""Place the objects of a scene, with as little overlap as a few tries allow."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.int64]  # (N, 4) x, y, width, height in px

_ENOUGH = 0.15  # share of the smaller box that may be covered without trying another place


def covered(box: tuple[int, int, int, int], others: Boxes) -> float:
    """Return the largest overlap of a box with one of the others, as a share of the smaller box.

    >>> covered((0, 0, 10, 10), np.array([[5, 0, 10, 20], [40, 40, 5, 5]]))
    0.5
    """
    if not len(others):
        return 0.0
    x, y, width, height = box
    right = np.minimum(x + width, others[:, 0] + others[:, 2]) - np.maximum(x, others[:, 0])
    down = np.minimum(y + height, others[:, 1] + others[:, 3]) - np.maximum(y, others[:, 1])
    smaller = np.minimum(width * height, others[:, 2] * others[:, 3])
    return float((np.maximum(right, 0) * np.maximum(down, 0) / smaller).max())


def place(sizes: npt.NDArray[np.int64], corner: Callable[[int], tuple[int, int]], tries: int = 10) -> Boxes:
    """Place boxes one after another.

    Args:
        sizes: (N, 2) width, height in px.
        corner: draws a top-left corner for the i-th box.
        tries: corners drawn per box; the one with the least overlap is taken.

    Returns:
        The boxes, (N, 4), in the order of `sizes`.
    """
    boxes = np.zeros((len(sizes), 4), np.int64)
    for i, (width, height) in enumerate(sizes.tolist()):
        best, least = (0, 0), np.inf
        for _ in range(tries):
            x, y = corner(i)
            share = covered((x, y, width, height), boxes[:i])
            if share < least:
                best, least = (x, y), share
            if least <= _ENOUGH:
                break
        boxes[i] = (*best, width, height)
    return boxes
