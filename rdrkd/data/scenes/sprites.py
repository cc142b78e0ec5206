"""The objects of a scene: a few coloured polygons each, stretched so that they touch all four sides of their box."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # (height, width, 3) RGB
Alpha = npt.NDArray[np.float32]  # (height, width), 0 to 1
Points = npt.NDArray[np.float64]  # (N, 2) x, y
Colour = tuple[int, int, int]  # RGB
Part = tuple[Points, Colour]

_SHIFT = 4  # cv2 takes fixed-point corners with this many fractional bits
_PAINTS: tuple[Colour, ...] = (
    (235, 235, 232), (200, 202, 205), (150, 152, 156), (60, 62, 66), (25, 26, 30),
    (165, 30, 32), (35, 60, 140), (90, 70, 50), (205, 180, 60), (40, 100, 70),
)  # fmt: skip
_CLOTHES: tuple[Colour, ...] = (
    (30, 30, 35),
    (220, 220, 220),
    (160, 40, 45),
    (40, 60, 130),
    (110, 110, 60),
    (90, 60, 90),
)
_GLASS: Colour = (38, 46, 58)
_SKIN: Colour = (190, 145, 115)
_TYRE: Colour = (22, 22, 24)


def paint_sprite(parts: Sequence[Part], width: int, height: int) -> tuple[Image, Alpha]:
    """Draw parts, later ones on top, scaled to fill width x height px exactly; smooth edges."""
    factor = 4 if max(width, height) < 48 else 2
    size = np.array([width * factor, height * factor])
    corners = np.concatenate([points for points, _ in parts])
    low, span = corners.min(axis=0), np.maximum(np.ptp(corners, axis=0), 1e-9)
    colour = np.empty((int(size[1]), int(size[0]), 3), np.uint8)
    colour[:] = parts[0][1]  # so that smoothing an edge mixes in no foreign colour
    alpha = np.zeros(colour.shape[:2], np.uint8)
    for points, paint in parts:
        fixed = np.rint((points - low) / span * (size - 1) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(colour, [fixed], paint, shift=_SHIFT)
        cv2.fillPoly(alpha, [fixed], (255,), shift=_SHIFT)
    small = cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False), soft.astype(np.float32) / np.float32(255)


def to_pixels(values: npt.NDArray[Any]) -> Image:
    """Clip values to 0..255 and drop the fractions."""
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def heading_for(aspect: float, length: float) -> float:
    """Return the angle (rad, 0 to pi/2) at which a length x 1 rectangle's bounding box has the aspect width / height.

    Its box is (length cos + sin) wide and (length sin + cos) high.

    >>> [round(math.degrees(heading_for(aspect, 2.0)), 6) for aspect in (2.0, 1.0, 0.1)]
    [0.0, 45.0, 90.0]
    """
    if aspect >= length:
        return 0.0
    if aspect <= 1 / length:
        return math.pi / 2
    return math.atan2(length - aspect, aspect * length - 1)


def turn(parts: Sequence[Part], angle: float) -> list[Part]:
    """Turn parts by an angle in rad."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(points @ np.array([[cos, sin], [-sin, cos]]), colour) for points, colour in parts]


def rectangle(x0: float, y0: float, x1: float, y1: float, cut: float = 0.0) -> Points:
    """Return a rectangle with corners cut off by `cut`."""
    c = cut
    return np.array(
        [(x0 + c, y0), (x1 - c, y0), (x1, y0 + c), (x1, y1 - c), (x1 - c, y1), (x0 + c, y1), (x0, y1 - c), (x0, y0 + c)]
    )


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """Return an ellipse as 16 corners."""
    angle = np.arange(16) * (2 * math.pi / 16)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def shade(colour: Colour, factor: float) -> Colour:
    """Make a colour lighter or darker.

    >>> shade((100, 200, 40), 1.5)
    (150, 255, 60)
    """
    red, green, blue = (min(255, max(0, round(c * factor))) for c in colour)
    return red, green, blue


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """Draw one of the colours and vary its brightness a little."""
    return shade(colours[int(rng.integers(len(colours)))], float(rng.uniform(0.85, 1.15)))


# Vehicles lie along x, nose to the right, 1 wide; the factory's number is how long they are.


def _car(rng: np.random.Generator) -> list[Part]:
    paint = pick(rng, _PAINTS)
    return [
        (rectangle(-1.05, -0.5, 1.05, 0.5, 0.16), paint),
        (rectangle(-0.8, -0.4, 0.55, 0.4, 0.1), _GLASS),
        (rectangle(-0.55, -0.38, 0.2, 0.38, 0.06), shade(paint, 1.12)),
    ]


def _van(rng: np.random.Generator) -> list[Part]:
    paint = pick(rng, _PAINTS[:4])
    return [
        (rectangle(-1.15, -0.5, 1.15, 0.5, 0.08), paint),
        (rectangle(0.55, -0.42, 0.85, 0.42, 0.05), _GLASS),
        (rectangle(-1.0, -0.4, 0.5, 0.4, 0.04), shade(paint, 1.08)),
    ]


def _truck(rng: np.random.Generator) -> list[Part]:
    cargo = pick(rng, ((190, 190, 185), (120, 95, 70), (70, 90, 120), (215, 215, 210)))
    cab = pick(rng, _PAINTS)
    return [
        (rectangle(-1.5, -0.5, 1.5, 0.5, 0.04), shade(cargo, 0.75)),
        (rectangle(-1.45, -0.45, 0.75, 0.45), cargo),
        (rectangle(0.8, -0.5, 1.5, 0.5, 0.1), cab),
        (rectangle(1.15, -0.4, 1.38, 0.4), _GLASS),
        *((rectangle(x, -0.45, x + 0.06, 0.45), shade(cargo, 0.88)) for x in (-1.0, -0.5, 0.0)),
    ]


def _bus(rng: np.random.Generator) -> list[Part]:
    paint = pick(rng, ((215, 60, 45), (235, 200, 70), (70, 130, 190), (230, 230, 225), (80, 160, 90)))
    return [
        (rectangle(-1.8, -0.5, 1.8, 0.5, 0.08), paint),
        (rectangle(-1.7, -0.38, 1.5, 0.38), shade(paint, 1.15)),
        (rectangle(1.58, -0.42, 1.74, 0.42), _GLASS),
        *((rectangle(x, -0.16, x + 0.4, 0.16), shade(paint, 0.8)) for x in (-1.3, -0.1, 0.9)),
    ]


def _tricycle(rng: np.random.Generator) -> list[Part]:
    paint = pick(rng, ((150, 45, 40), (50, 85, 130), (60, 110, 80)))
    return [
        (rectangle(-0.85, -0.5, 0.15, 0.5), shade(paint, 0.8)),
        (rectangle(-0.75, -0.4, 0.05, 0.4), (95, 85, 75)),
        (rectangle(0.1, -0.16, 0.85, 0.16, 0.08), paint),
        (ellipse(0.3, 0.0, 0.2, 0.26), pick(rng, _CLOTHES)),
    ]


def _awning_tricycle(rng: np.random.Generator) -> list[Part]:
    awning = pick(rng, ((60, 110, 170), (190, 60, 55), (215, 205, 180), (70, 140, 95)))
    return [
        (rectangle(-0.85, -0.5, 0.6, 0.5, 0.06), awning),
        (rectangle(-0.15, -0.5, -0.07, 0.5), shade(awning, 1.25)),
        (rectangle(0.55, -0.18, 0.85, 0.18, 0.08), shade(awning, 0.6)),
    ]


def _ridden(rng: np.random.Generator, body: Colour, girth: float) -> list[Part]:
    """Two wheels along x and a rider over them."""
    return [
        (ellipse(-0.75, 0.0, 0.35, girth), _TYRE),
        (ellipse(0.75, 0.0, 0.35, girth), _TYRE),
        (rectangle(-0.7, -girth, 0.8, girth, 0.1), body),
        (ellipse(-0.1, 0.0, 0.35, 0.5), pick(rng, _CLOTHES)),
        (ellipse(0.05, 0.0, 0.2, 0.2), _SKIN if rng.random() < 0.5 else _TYRE),
    ]


def _motor(rng: np.random.Generator) -> list[Part]:
    return _ridden(rng, pick(rng, _PAINTS[3:]), 0.26)


def _bicycle(rng: np.random.Generator) -> list[Part]:
    return _ridden(rng, pick(rng, _PAINTS), 0.08)


# People stand upright in the picture, head above.


def _pedestrian(rng: np.random.Generator) -> list[Part]:
    stride = float(rng.uniform(0.05, 0.22))
    trousers = pick(rng, _CLOTHES)
    return [
        (rectangle(-0.3, 0.1, -0.02, 1.0 - stride, 0.05), trousers),
        (rectangle(0.02, 0.1, 0.3, 1.0, 0.05), shade(trousers, 0.9)),
        (ellipse(0.0, -0.2, 0.42, 0.5), pick(rng, _CLOTHES)),
        (ellipse(0.0, -0.75, 0.22, 0.25), _SKIN if rng.random() < 0.5 else _TYRE),
    ]


def _people(rng: np.random.Generator) -> list[Part]:
    return [
        (ellipse(0.15, 0.5, 0.6, 0.35), pick(rng, _CLOTHES)),
        (ellipse(-0.05, 0.05, 0.5, 0.55), pick(rng, _CLOTHES)),
        (ellipse(-0.1, -0.55, 0.25, 0.28), _SKIN if rng.random() < 0.5 else _TYRE),
    ]


VEHICLES: dict[str, tuple[Callable[[np.random.Generator], list[Part]], float]] = {
    "bicycle": (_bicycle, 2.2),
    "car": (_car, 2.1),
    "van": (_van, 2.3),
    "truck": (_truck, 3.0),
    "tricycle": (_tricycle, 1.7),
    "awning-tricycle": (_awning_tricycle, 1.7),
    "bus": (_bus, 3.6),
    "motor": (_motor, 2.2),
}
PERSONS: dict[str, Callable[[np.random.Generator], list[Part]]] = {"pedestrian": _pedestrian, "people": _people}


def sprite(name: str, rng: np.random.Generator, width: int, height: int) -> tuple[Image, Alpha]:
    """Draw an object of a VisDrone class, width x height px; a vehicle is turned so that its box has that shape."""
    if name in PERSONS:
        return paint_sprite(PERSONS[name](rng), width, height)
    factory, length = VEHICLES[name]
    angle = heading_for(width / height, length) * (1 if rng.random() < 0.5 else -1)
    return paint_sprite(turn(factory(rng), angle + math.pi * int(rng.integers(2))), width, height)
