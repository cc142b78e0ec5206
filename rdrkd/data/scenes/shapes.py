"""The `shapes` profile: four classes that differ in shape alone, in any colour, on varied ground with distractors.

A few labelled scenes do not show how much such scenes vary, so a student has something to learn from a teacher that
has seen many.
"""

import colorsys
import math

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data.scenes import demo
from rdrkd.data.scenes.scatter import scatter
from rdrkd.data.scenes.scene import Plan
from rdrkd.data.scenes.sprites import Colour, Image, Part, ellipse, rectangle, shade, to_pixels

NAMES = demo.NAMES
_SIDE = (10 / 96, 30 / 96)  # of the frame's shorter side
_CABIN = 0.35  # brightness of a roof, relative to the paint

Floats = npt.NDArray[np.float32]


def _colour(rng: np.random.Generator) -> Colour:
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(), rng.uniform(0.15, 1.0))
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue


def _parts(name: str, rng: np.random.Generator) -> list[Part]:
    paint = _colour(rng)
    roof = shade(paint, _CABIN)
    if name == "car":
        return [(rectangle(-1.0, -0.55, 1.0, 0.55, 0.2), paint), (rectangle(-0.6, -0.42, 0.45, 0.42, 0.1), roof)]
    if name == "truck":
        return [(rectangle(-1.2, -0.55, 1.2, 0.55), _colour(rng)), (rectangle(0.6, -0.55, 1.2, 0.55, 0.1), paint)]
    if name == "person":
        return [(ellipse(0.0, 0.0, 0.8, 0.6), paint), (ellipse(0.05, 0.0, 0.4, 0.4), roof)]
    hull = np.array([(-1.1, -0.4), (-1.0, -0.55), (0.3, -0.55), (1.2, 0.0), (0.3, 0.55), (-1.0, 0.55), (-1.1, 0.4)])
    return [(hull, paint), (rectangle(-0.6, -0.3, 0.1, 0.3), roof)]


def plan(rng: np.random.Generator, width: int, height: int) -> Plan:
    """Draw one scene's objects: one to four, apart from each other, in any heading."""
    return scatter(rng, width, height, lambda label: _parts(NAMES[label], rng), len(NAMES), (1, 4), _SIDE)


def ground(rng: np.random.Generator, width: int, height: int) -> Image:
    """Draw the ground: two colours in a random pattern, lines, and plain shapes that are no objects."""
    share = _pattern(rng, width, height)[..., None]
    image = np.array(_colour(rng), np.float32) * (1 - share) + np.array(_colour(rng), np.float32) * share
    for _ in range(int(rng.integers(0, 4))):
        ends = np.rint(rng.uniform(-0.2, 1.2, (2, 2)) * (width, height)).astype(int).tolist()
        cv2.line(image, ends[0], ends[1], _colour(rng), int(rng.integers(1, 20)), cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 10))):
        _distractor(image, rng)
    return to_pixels(image)


def _pattern(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Return the share of the second colour, (height, width): clouds, stripes, patches, or a hint of clouds."""
    kind, cells = int(rng.integers(4)), int(rng.integers(3, 40))
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    clouds = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    if kind == 0:
        share = np.clip(clouds * 2 + 0.5, 0, 1)
    elif kind == 1:
        y, x = np.mgrid[:height, :width]
        angle, period = rng.uniform(0, math.pi), rng.uniform(6, 30)
        share = 0.5 + 0.5 * np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / period)
    elif kind == 2:
        share = (clouds > 0.3).astype(np.float32)
    else:
        share = np.clip(clouds * 0.2 + 0.2, 0, 1)
    return np.asarray(share * rng.uniform(0.2, 0.9), dtype=np.float32)


def _distractor(image: Floats, rng: np.random.Generator) -> None:
    """Draw a rectangle or an ellipse as large as an object, without the part that would make it one."""
    height, width = image.shape[:2]
    x, y = rng.uniform(0, 1, 2) * (width, height)
    low, high = (share * min(width, height) / 2 for share in _SIDE)
    radius, slim, angle = rng.uniform(low, high), rng.uniform(0.5, 1.0), rng.uniform(0, 180)
    if rng.random() < 0.5:
        corners = cv2.boxPoints(((x, y), (2 * radius, 2 * radius * slim), angle))
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], _colour(rng), cv2.LINE_AA)
    else:
        axes = max(1, round(radius)), max(1, round(radius * slim))
        cv2.ellipse(image, (round(x), round(y)), axes, angle, 0, 360, _colour(rng), -1, cv2.LINE_AA)
