"""The measured figures of a set of drone images, and how to draw from them."""

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# The probabilities at which every distribution is kept; denser at the tails, which decide the extremes.
LEVELS: tuple[float, ...] = (
    0, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 1,
)  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What `rdrkd.data.scenes.fit_visdrone` measures. A distribution is its quantiles at LEVELS.

    Attributes:
        source: what was measured.
        class_share: share of all objects, by class name.
        class_concentration: how alike the images' class mixes are (sum of a Dirichlet's parameters).
        objects_per_image: distribution of the number of objects.
        size: distribution of sqrt(width * height) / the frame's long side, by class.
        aspect: distribution of width / height, by class.
        row: distribution of the centre's y / the frame's height.
        size_shared: correlation of an object's size with its image's altitude, in normal scores.
        size_by_row: correlation of size with row within an image, in normal scores: the perspective.
        ignored_per_image: distribution of the number of ignored regions.
        ignored_side: distribution of sqrt(width * height) / long side of an ignored region.
    """

    source: str
    class_share: dict[str, float]
    class_concentration: float
    objects_per_image: list[float]
    size: dict[str, list[float]]
    aspect: dict[str, list[float]]
    row: list[float]
    size_shared: float
    size_by_row: float
    ignored_per_image: list[float]
    ignored_side: list[float]


@cache
def visdrone() -> Figures:
    """Return the figures of VisDrone2019-DET's training images."""
    text = resources.files("rdrkd.data.scenes").joinpath("visdrone.json").read_text(encoding="utf-8")
    return Figures(**json.loads(text))


def draw(quantiles: list[float], probability: float | Floats) -> Floats:
    """Return the value at a probability (or several), linear between the quantiles at LEVELS.

    >>> float(draw([float(level) for level in LEVELS], 0.32))
    0.32
    """
    return np.asarray(np.interp(probability, LEVELS, quantiles), dtype=np.float64)


def normal_cdf(values: Floats) -> Floats:
    """Return the standard normal distribution function of each value."""
    return np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in values.ravel()]).reshape(values.shape)
