"""One scene: its plan, its picture, and the boxes of the objects that are visible in the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data.frames import Box
from rdrkd.data.scenes.sprites import Alpha, Image, to_pixels

_SOLID = 0.25  # least coverage with which an object owns a pixel
_SEEN = 0.98  # visible share above which an object counts as unoccluded
_LOST = 0.1  # visible share below which an object is ignored


@dataclass(frozen=True)
class Item:
    """An object to draw: class index, box in px, and its sprite of the box's size."""

    label: int
    x: int
    y: int
    width: int
    height: int
    colour: Image
    alpha: Alpha


@dataclass(frozen=True)
class Plan:
    """A scene's objects, the nearest last, and its ignored regions as (x, y, width, height) in px."""

    items: list[Item]
    regions: list[tuple[int, int, int, int]]


@dataclass(frozen=True)
class Drawn:
    """A picture, and for each pixel the index of the object that owns it, -1 for the ground: (height, width)."""

    image: Image
    owner: npt.NDArray[np.int16]


def draw(ground: Image, plan: Plan) -> Drawn:
    """Draw a plan's objects with their shadows onto the ground."""
    canvas = ground.astype(np.float32)
    _shadows(canvas, plan.items)
    owner = np.full(ground.shape[:2], -1, np.int16)
    for index, item in enumerate(plan.items):
        part = np.s_[item.y : item.y + item.height, item.x : item.x + item.width]
        canvas[part] += item.alpha[..., None] * (item.colour - canvas[part])
        owner[part][item.alpha >= _SOLID] = index
    return Drawn(to_pixels(canvas), owner)


def boxes(plan: Plan, drawn: Drawn) -> tuple[Box, ...]:
    """Return the plan's boxes, graded by how much of each object can be seen in the picture."""
    seen = np.bincount(drawn.owner[drawn.owner >= 0], minlength=len(plan.items))
    found = []
    for item, pixels in zip(plan.items, seen.tolist(), strict=True):
        share = pixels / max(int((item.alpha >= _SOLID).sum()), 1)
        occlusion = 0 if share >= _SEEN else 1 if share >= 0.5 else 2
        place = (item.x, item.y, item.width, item.height)
        found.append(Box(item.label, *place, ignored=share < _LOST, occlusion=occlusion))
    return (*found, *(Box(None, *region, ignored=True) for region in plan.regions))


def _shadows(canvas: npt.NDArray[np.float32], items: list[Item]) -> None:
    """Darken the ground at the lower right of each object."""
    light = np.ones(canvas.shape[:2], np.float32)
    for item in items:
        reach = max(1, round(0.12 * min(item.width, item.height)))
        x, y = item.x + reach, item.y + reach
        width, height = min(item.width, canvas.shape[1] - x), min(item.height, canvas.shape[0] - y)
        if width > 0 and height > 0:
            part = light[y : y + height, x : x + width]
            np.minimum(part, 1 - 0.45 * item.alpha[:height, :width], out=part)
    canvas *= cv2.GaussianBlur(light, (3, 3), 0)[..., None]
