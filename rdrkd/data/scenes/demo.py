"""The `demo` profile: four classes of plain shape and colour on calm ground, learnt within a minute on a CPU."""

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data.scenes.scatter import scatter
from rdrkd.data.scenes.scene import Plan
from rdrkd.data.scenes.sprites import Image, Part, ellipse, pick, rectangle, shade, to_pixels

NAMES = ("car", "truck", "person", "boat")
_SIDE = (12 / 176, 48 / 176)  # of the frame's shorter side: 12 to 48 px at 160 to 192 px
_GROUNDS = ((92, 110, 72), (112, 112, 110), (146, 130, 102), (78, 96, 104))


def _parts(name: str, rng: np.random.Generator) -> list[Part]:
    if name == "car":
        paint = pick(rng, ((205, 40, 40), (225, 80, 50), (180, 30, 60)))
        return [
            (rectangle(-1.0, -0.55, 1.0, 0.55, 0.2), paint),
            (rectangle(-0.6, -0.42, 0.45, 0.42, 0.1), shade(paint, 0.35)),
        ]
    if name == "truck":
        paint = pick(rng, ((40, 70, 190), (60, 110, 220), (30, 50, 150)))
        return [
            (rectangle(-1.5, -0.5, 1.5, 0.5), (225, 225, 225)),
            (rectangle(0.8, -0.5, 1.5, 0.5, 0.1), paint),
            (rectangle(-1.3, -0.12, 0.6, 0.12), paint),
        ]
    if name == "person":
        return [
            (ellipse(0.0, 0.0, 0.55, 0.5), pick(rng, ((240, 205, 50), (250, 225, 90)))),
            (ellipse(0.05, 0.0, 0.24, 0.24), (45, 30, 25)),
        ]
    paint = pick(rng, ((240, 240, 245), (60, 180, 120)))
    hull = np.array([(-1.2, -0.3), (-1.0, -0.5), (0.3, -0.5), (1.2, 0.0), (0.3, 0.5), (-1.0, 0.5), (-1.2, 0.3)])
    return [(hull, (50, 170, 110)), (hull * 0.72, paint), (rectangle(-0.6, -0.2, 0.1, 0.2), (90, 60, 40))]


def plan(rng: np.random.Generator, width: int, height: int) -> Plan:
    """Draw one scene's objects: two to eight, apart from each other, in any heading."""
    return scatter(rng, width, height, lambda label: _parts(NAMES[label], rng), len(NAMES), (2, 8), _SIDE)


def ground(rng: np.random.Generator, width: int, height: int) -> Image:
    """Draw the ground: one surface, uneven, with a few stripes and stones that are no objects."""
    image = np.empty((height, width, 3), np.float32)
    image[:] = pick(rng, _GROUNDS)
    for cells, strength in ((4, 14.0), (24, 7.0)):
        coarse = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    scale = max(width, height) / 176
    for _ in range(int(rng.integers(0, 3))):
        ends = rng.uniform(-0.2, 1.2, (2, 2)) * (width, height)
        _line(image, ends, float(rng.uniform(0.8, 1.15)) * 105, max(1, round(float(rng.uniform(6, 22)) * scale)))
    for _ in range(int(rng.integers(0, 6))):
        centre, grey = rng.uniform(0, 1, 2) * (width, height), float(rng.uniform(60, 170))
        axes = np.maximum(np.rint(rng.uniform(2, 8, 2) * scale), 1)
        cv2.ellipse(image, (int(centre[0]), int(centre[1])), (int(axes[0]), int(axes[1])), 0, 0, 360, (grey,) * 3, -1)
    return to_pixels(image)


def _line(image: npt.NDArray[np.float32], ends: npt.NDArray[np.float64], grey: float, thickness: int) -> None:
    (x0, y0), (x1, y1) = np.rint(ends).astype(int).tolist()
    cv2.line(image, (x0, y0), (x1, y1), (grey, grey, grey), thickness, cv2.LINE_AA)


def sensor(image: Image, rng: np.random.Generator) -> Image:
    """Add what a camera adds: brightness and a little noise."""
    noisy = image * rng.uniform(0.8, 1.15) + rng.normal(0, 4, image.shape)
    return to_pixels(noisy)
