"""Scatter objects over a square scene, apart from each other and in any heading."""

import math
from collections.abc import Callable

import numpy as np

from rdrkd.data.scenes.placement import place
from rdrkd.data.scenes.scene import Item, Plan
from rdrkd.data.scenes.sprites import Part, paint_sprite, turn

_LEAST = 4  # px, side of a sprite


def scatter(
    rng: np.random.Generator,
    width: int,
    height: int,
    parts_of: Callable[[int], list[Part]],
    classes: int,
    count: tuple[int, int],
    side: tuple[float, float],
) -> Plan:
    """Draw the objects of a scene.

    Args:
        rng: of all random choices.
        width: of the scene, px.
        height: likewise.
        parts_of: draws the parts of an object of a class, given by its index.
        classes: number of classes.
        count: least and largest number of objects.
        side: least and largest longer side of an object, as fractions of the scene's shorter side.
    """
    parts, sizes, labels = [], [], []
    for _ in range(int(rng.integers(count[0], count[1] + 1))):
        label = int(rng.integers(classes))
        turned = turn(parts_of(label), float(rng.uniform(0, 2 * math.pi)))
        span = np.ptp(np.concatenate([points for points, _ in turned]), axis=0)
        low, high = (math.log(share * min(width, height)) for share in side)
        longer = math.exp(rng.uniform(low, high))
        sizes.append(np.maximum(np.rint(span / span.max() * longer), _LEAST).astype(np.int64))
        parts.append(turned)
        labels.append(label)
    room = np.array([width, height]) - np.array(sizes)

    def corner(i: int) -> tuple[int, int]:
        return int(rng.integers(room[i, 0] + 1)), int(rng.integers(room[i, 1] + 1))

    boxes = place(np.array(sizes), corner, tries=30)
    items = [
        Item(label, x, y, w, h, *paint_sprite(drawn, w, h))
        for label, (x, y, w, h), drawn in zip(labels, boxes.tolist(), parts, strict=True)
    ]
    return Plan(items, [])
