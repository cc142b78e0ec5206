"""The `visdrone` profile: numbers, sizes, shapes and rows of objects as measured on VisDrone, in a drawn town."""

import numpy as np
import numpy.typing as npt

from rdrkd.data.scenes.figures import Figures, draw, normal_cdf
from rdrkd.data.scenes.figures import visdrone as figures
from rdrkd.data.scenes.placement import Boxes, place
from rdrkd.data.scenes.scene import Item, Plan
from rdrkd.data.scenes.sprites import sprite
from rdrkd.data.scenes.town import Town
from rdrkd.data.visdrone import NAMES

_MOST_REGIONS = 20
_ON_ROAD = {"car", "van", "truck", "bus", "tricycle", "awning-tricycle", "motor", "bicycle"}


def plan(rng: np.random.Generator, width: int, height: int, town: Town) -> Plan:
    """Draw one scene's objects, the farthest first, and its ignored regions."""
    labels, boxes = objects(rng, width, height, town)
    regions = _regions(rng, width, height, boxes)
    order = np.argsort(boxes[:, 1] + boxes[:, 3], kind="stable")
    items = []
    for i in order.tolist():
        x, y, w, h = boxes[i].tolist()
        items.append(Item(int(labels[i]), x, y, w, h, *sprite(NAMES[labels[i]], rng, w, h)))
    return Plan(items, regions)


def objects(
    rng: np.random.Generator, width: int, height: int, town: Town, measured: Figures | None = None
) -> tuple[npt.NDArray[np.int64], Boxes]:
    """Draw the class indices (N,) and boxes (N, 4) in px of one scene, by the measured figures.

    A size's normal score is the sum of the image's altitude, the row (perspective) and the object's own share; their
    squares add up to 1, so that every class keeps its measured distribution of sizes.
    """
    measured = measured or figures()
    count = max(1, round(float(draw(measured.objects_per_image, rng.random()))))
    shares = np.array([measured.class_share[name] for name in NAMES])
    mix = rng.dirichlet(measured.class_concentration * shares / shares.sum())
    labels = rng.choice(len(NAMES), size=count, p=mix)
    z_row = rng.normal(size=count)
    own = max(1 - measured.size_shared**2 - measured.size_by_row**2, 0.0) ** 0.5
    z_size = measured.size_shared * rng.normal() + measured.size_by_row * z_row + own * rng.normal(size=count)
    rows = draw(measured.row, normal_cdf(z_row)) * height
    sizes = _sizes(rng, labels, normal_cdf(z_size), width, height, measured)

    def corner(i: int) -> tuple[int, int]:
        w, h = sizes[i].tolist()
        centre = rows[i] + rng.normal(0, 0.01 * height)
        x = town.column(rng, float(centre), on_road=NAMES[labels[i]] in _ON_ROAD) - w / 2
        return min(max(round(x), 0), width - w), min(max(round(centre - h / 2), 0), height - h)

    return labels, place(sizes, corner)


def _sizes(
    rng: np.random.Generator,
    labels: npt.NDArray[np.int64],
    probability: npt.NDArray[np.float64],
    width: int,
    height: int,
    measured: Figures,
) -> npt.NDArray[np.int64]:
    """Turn each object's place in its class's size distribution into whole px (N, 2)."""
    sizes = np.empty((len(labels), 2), np.int64)
    for k in np.unique(labels).tolist():
        of_class = labels == k
        side = draw(measured.size[NAMES[k]], probability[of_class]) * max(width, height)
        stretch = draw(measured.aspect[NAMES[k]], rng.random(int(of_class.sum()))) ** 0.5
        sizes[of_class] = np.rint(np.stack([side * stretch, side / stretch], axis=1))
    return np.clip(sizes, 2, [int(width * 0.9), int(height * 0.9)])


def _regions(rng: np.random.Generator, width: int, height: int, boxes: Boxes) -> list[tuple[int, int, int, int]]:
    """Draw the ignored regions, where they cover the least of the objects."""
    count = min(_MOST_REGIONS, round(float(draw(figures().ignored_per_image, rng.random()))))
    regions = []
    for _ in range(count):
        side = float(draw(figures().ignored_side, rng.random())) * max(width, height)
        stretch = float(np.exp(rng.normal(0.2, 0.4)))
        w, h = int(np.clip(side * stretch, 3, width // 2)), int(np.clip(side / stretch, 3, height // 2))
        corners = np.stack([rng.integers(0, width - w + 1, 12), rng.integers(0, height - h + 1, 12)], axis=1)
        right = np.minimum(corners[:, None, 0] + w, boxes[:, 0] + boxes[:, 2]) - np.maximum(
            corners[:, None, 0], boxes[:, 0]
        )
        down = np.minimum(corners[:, None, 1] + h, boxes[:, 1] + boxes[:, 3]) - np.maximum(
            corners[:, None, 1], boxes[:, 1]
        )
        hit = (np.maximum(right, 0) * np.maximum(down, 0) / (boxes[:, 2] * boxes[:, 3])).sum(axis=1)
        x, y = corners[int(hit.argmin())].tolist()
        regions.append((x, y, w, h))
    return regions
