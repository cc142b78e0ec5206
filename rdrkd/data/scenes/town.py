"""The ground of the `visdrone` scenes: roads that run to a vanishing point, houses, trees, shadows, all seen aslant."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data.scenes.sprites import Colour, Image, pick, shade, to_pixels

_GROUNDS: tuple[Colour, ...] = ((104, 112, 84), (128, 122, 108), (96, 98, 96), (140, 132, 114))
_ASPHALT: tuple[Colour, ...] = ((92, 94, 98), (116, 115, 112), (74, 76, 80))
_ROOFS: tuple[Colour, ...] = ((140, 80, 66), (150, 148, 144), (96, 106, 122), (186, 178, 160), (84, 84, 88))
_LEAVES: tuple[Colour, ...] = ((52, 78, 44), (66, 92, 52), (44, 66, 48), (88, 100, 58))


@dataclass(frozen=True)
class Town:
    """A frame's geometry. Depth is 0 at the horizon, which lies above the frame, and 1 at the lower edge.

    Attributes:
        width: of the frame, px.
        height: of the frame, px.
        vanish: x and y of the vanishing point, px.
        roads: (x at the lower edge, half width there), px: roads that run into the picture.
        crossings: (y of the middle, half height), px: roads across it.
    """

    width: int
    height: int
    vanish: tuple[float, float]
    roads: tuple[tuple[float, float], ...]
    crossings: tuple[tuple[float, float], ...]

    def depth(self, y: float) -> float:
        """Return the scale of things that stand at row y, as a share of that at the lower edge."""
        return (y - self.vanish[1]) / (self.height - self.vanish[1])

    def x_of(self, x_below: float, y: float) -> float:
        """Follow a line into the picture: from x at the lower edge to x at row y."""
        return self.vanish[0] + (x_below - self.vanish[0]) * self.depth(y)

    def column(self, rng: np.random.Generator, y: float, on_road: bool) -> float:
        """Draw where in row y something stands: on a road three times of four, if it belongs there."""
        if on_road and rng.random() < 0.75 and not any(abs(y - middle) < half for middle, half in self.crossings):
            below, half = self.roads[int(rng.integers(len(self.roads)))]
            x = self.x_of(below + float(rng.uniform(-half, half)), y)
            if 0 <= x <= self.width:
                return x
        return float(rng.uniform(0, self.width))


def build(rng: np.random.Generator, width: int, height: int) -> Town:
    """Draw a town's geometry."""
    vanish = (float(rng.uniform(-0.2, 1.2)) * width, -float(rng.uniform(0.25, 1.2)) * height)
    roads = tuple(
        (float(rng.uniform(-0.4, 1.4)) * width, float(rng.uniform(0.05, 0.16)) * width)
        for _ in range(int(rng.integers(1, 4)))
    )
    crossings = tuple(
        (float(rng.uniform(0.05, 1)) * height, float(rng.uniform(0.02, 0.07)) * height)
        for _ in range(int(rng.integers(0, 3)))
    )
    return Town(width, height, vanish, roads, crossings)


def ground(rng: np.random.Generator, town: Town, objects: Sequence[tuple[int, int, int, int]] = ()) -> Image:
    """Draw the town without its objects, whose boxes (x, y, width, height in px) stay clear of houses."""
    image = np.empty((town.height, town.width, 3), np.uint8)
    image[:] = pick(rng, _GROUNDS)
    _roads(image, rng, town)
    taken = np.zeros(image.shape[:2], np.bool_)
    for x, y, w, h in objects:
        taken[y : y + h, x : x + w] = True
    _clutter(image, rng, town, taken)
    return _texture(image, rng)


def sensor(image: Image, rng: np.random.Generator) -> Image:
    """Add what air and camera add: haze towards the top, light, noise; one scene of ten is at dusk."""
    haze = np.linspace(float(rng.uniform(0, 0.25)), 0, image.shape[0], dtype=np.float32)[:, None, None]
    lit = image + haze * (205 - image.astype(np.float32))
    tint = rng.uniform(0.94, 1.06, 3) * (0.45 if rng.random() < 0.1 else rng.uniform(0.8, 1.2))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(1.5, 5))
    return to_pixels(lit * tint.astype(np.float32) + noise)


def blur_regions(image: Image, regions: list[tuple[int, int, int, int]], rng: np.random.Generator) -> Image:
    """Fill the ignored regions with a crowd that nobody could label: small blots, out of focus."""
    filled = image.copy()
    for x, y, w, h in regions:
        part = filled[y : y + h, x : x + w]
        for _ in range(min(60, w * h // 30)):
            cx, cy = int(rng.integers(w)), int(rng.integers(h))
            grey = shade((150, 145, 140), float(rng.uniform(0.3, 1.4)))
            cv2.circle(part, (cx, cy), max(1, min(w, h) // 14), grey, -1)
        part[:] = cv2.GaussianBlur(part, (0, 0), max(0.8, min(w, h) / 25))
    return filled


def _roads(image: Image, rng: np.random.Generator, town: Town) -> None:
    asphalt = pick(rng, _ASPHALT)
    for below, half in town.roads:
        _fill(image, _strip(town, below - half * 1.25, below + half * 1.25), shade(asphalt, 1.3))
    for middle, half in town.crossings:
        cv2.rectangle(image, (0, round(middle - half)), (town.width, round(middle + half)), asphalt, -1)
    for below, half in town.roads:
        _fill(image, _strip(town, below - half, below + half), asphalt)
        _fill(image, _strip(town, below - half * 0.97, below - half * 0.94), (205, 205, 198))
        _fill(image, _strip(town, below + half * 0.94, below + half * 0.97), (205, 205, 198))
        _dashes(image, town, below, half)


def _dashes(image: Image, town: Town, middle: float, half: float) -> None:
    """Draw the lane marks; equal steps on the ground are steps of 1/depth in the picture."""
    top = town.depth(0)
    inverse = np.arange(1.0, min(1 / top, 8.0), 0.08)
    rows = (town.height - town.vanish[1]) / inverse + town.vanish[1]
    for near, far in zip(rows[:-1:2], rows[1::2], strict=False):
        for lane in (-0.33, 0.0, 0.33):
            edges = [middle + half * (lane + side) for side in (-0.012, 0.012)]
            corners = [
                (town.x_of(e, y), y) for e, y in zip([*edges, *edges[::-1]], [near, near, far, far], strict=True)
            ]
            _fill(image, np.array(corners), (212, 212, 205))


def _clutter(image: Image, rng: np.random.Generator, town: Town, taken: npt.NDArray[np.bool_]) -> None:
    """Draw houses and trees beside the roads, the far ones first; no house where an object stands."""
    unit = 0.11 * town.width
    rows = np.sort(rng.uniform(-0.05, 1.3, int(rng.integers(40, 110))) * town.height)
    for y in rows.tolist():
        below = float(rng.uniform(-1.0, 2.0)) * town.width
        x, size = town.x_of(below, y), unit * town.depth(y) * float(rng.uniform(0.35, 1.3))
        if any(abs(below - road) < half + unit * 0.8 for road, half in town.roads):
            if rng.random() < 0.5:
                _thing(image, rng, x, y, size * 0.05)
        elif any(abs(y - middle) < half + size for middle, half in town.crossings) or rng.random() < 0.5:
            _tree(image, rng, x, y, size * 0.35)
        elif not _any(taken, (x - size * 0.9, y - size * 1.8), (x + size * 0.9, y + size * 0.1)):
            _house(image, rng, x, y, size, (x - town.width / 2) / town.width)


def _any(taken: npt.NDArray[np.bool_], low: tuple[float, float], high: tuple[float, float]) -> bool:
    (x0, y0), (x1, y1) = ((max(0, round(x)), max(0, round(y))) for x, y in (low, high))
    return bool(taken[y0:y1, x0:x1].any())


def _thing(image: Image, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    """Draw a crate, a manhole, a lamp: what lies on a road and is no object."""
    grey = shade((120, 118, 115), float(rng.uniform(0.4, 1.5)))
    cv2.circle(image, (round(x), round(y)), max(1, round(radius)), grey, -1)


def _house(image: Image, rng: np.random.Generator, x: float, y: float, size: float, lean: float) -> None:
    """Draw a house whose roof leans away from the middle of the frame, as tall things do seen from above."""
    roof = pick(rng, _ROOFS)
    w, d, tall = (
        size * float(rng.uniform(0.6, 1.4)),
        size * float(rng.uniform(0.35, 0.8)),
        size * float(rng.uniform(0.2, 0.9)),
    )
    foot = np.array([(x - w / 2, y), (x + w / 2, y), (x + w / 2, y - d), (x - w / 2, y - d)])
    top = foot + np.array([lean * tall * 1.2, -tall])
    shadow = [foot[:2] + np.array([tall * 0.35, tall * 0.1]), top[2:] + np.array([tall * 0.7, tall * 0.6])]
    _fill(image, np.concatenate(shadow), None)
    for a, b in ((0, 1), (1, 2), (3, 0)):
        _fill(image, np.array([foot[a], foot[b], top[b], top[a]]), shade(roof, 0.62 if a == 0 else 0.48))
    _fill(image, top, roof)
    _fill(
        image,
        top.mean(axis=0) + (top - top.mean(axis=0)) * 0.3 + rng.uniform(-0.15, 0.15, 2) * (w, d),
        shade(roof, 0.8),
    )


def _tree(image: Image, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    leaves = pick(rng, _LEAVES)
    cv2.ellipse(
        image,
        (round(x + radius * 0.6), round(y + radius * 0.3)),
        (round(radius), round(radius * 0.6)),
        0,
        0,
        360,
        shade(leaves, 0.45),
        -1,
    )
    for _ in range(7):
        dx, dy = rng.normal(0, radius * 0.35, 2)
        blob = max(1, round(radius * float(rng.uniform(0.35, 0.65))))
        cv2.circle(
            image, (round(x + dx), round(y - radius * 0.4 + dy)), blob, shade(leaves, float(rng.uniform(0.75, 1.3))), -1
        )


def _strip(town: Town, left: float, right: float) -> npt.NDArray[np.float64]:
    """Return the corners of a strip of ground that runs from the lower edge to the top of the frame."""
    low, top = float(town.height), 0.0
    return np.array(
        [
            (town.x_of(left, low), low),
            (town.x_of(right, low), low),
            (town.x_of(right, top), top),
            (town.x_of(left, top), top),
        ]
    )


def _fill(image: Image, corners: npt.NDArray[np.float64], colour: Colour | None) -> None:
    """Fill a polygon; without a colour, darken it to a shadow."""
    fixed = np.rint(np.clip(corners, -1e5, 1e5) * 16).astype(np.int32)
    if colour is not None:
        cv2.fillPoly(image, [fixed], colour, cv2.LINE_AA, shift=4)
        return
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    part = image[max(low[1], 0) : max(high[1], 0), max(low[0], 0) : max(high[0], 0)]
    if part.size:
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(mask, [fixed - np.maximum(low, 0).astype(np.int32) * 16], (1,), shift=4)
        part[mask > 0] = part[mask > 0] * 0.55


def _texture(image: Image, rng: np.random.Generator) -> Image:
    """Roughen the ground: coarse patches and fine grain."""
    height, width = image.shape[:2]
    rough = np.zeros((height, width), np.float32)
    for cells, strength in ((6, 9.0), (40, 6.0), (160, 5.0)):
        coarse = rng.standard_normal((cells, cells), dtype=np.float32) * np.float32(strength)
        rough += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return to_pixels(image + rough[..., None])
