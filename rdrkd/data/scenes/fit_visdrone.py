"""Measure the figures that the `visdrone` scenes are drawn from, on VisDrone-DET's real annotations.

    python -m rdrkd.data.scenes.fit_visdrone ANNOTATIONS.tar.gz > rdrkd/data/scenes/visdrone.json

The archive holds `VisDrone2019-DET-train/annotations/*.txt`; images are not needed.
"""

import json
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from statistics import NormalDist

import numpy as np

from rdrkd.data import visdrone
from rdrkd.data.frames import Box
from rdrkd.data.scenes.figures import LEVELS, Figures, Floats

# The sizes that VisDrone's frames come in. Annotations do not say which: the smallest that holds all boxes is taken.
_FRAMES = ((480, 360), (960, 540), (1360, 765), (1400, 788), (1400, 1050), (1916, 1078), (1920, 1080), (2000, 1500))
_NORMAL = NormalDist()


def read_annotations(archive: Path, split: str = "train") -> list[list[Box]]:
    """Read the boxes of each image of a split, in the order of the file names."""
    with tarfile.open(archive) as opened:
        files = [m for m in opened if m.isfile() and PurePosixPath(m.name).match(f"*-{split}/annotations/*.txt")]
        images = []
        for member in sorted(files, key=lambda m: m.name):
            stream = opened.extractfile(member)
            assert stream is not None
            lines = stream.read().decode().splitlines()
            images.append([box for line in lines if line.strip() and (box := visdrone.parse_line(line)) is not None])
    return images


def frame_size(boxes: Sequence[Box]) -> tuple[int, int]:
    """Estimate the frame's width and height in px.

    >>> frame_size([Box(0, 1300, 500, 20, 40)])
    (1360, 765)
    """
    right, bottom = max(b.x + b.width for b in boxes), max(b.y + b.height for b in boxes)
    return next(((w, h) for w, h in _FRAMES if right <= w and bottom <= h), _FRAMES[-1])


def fit(images: Sequence[Sequence[Box]]) -> Figures:
    """Measure the figures of images, each given by its boxes."""
    used = [boxes for boxes in images if any(not box.ignored for box in boxes)]
    rows = []
    for image, boxes in enumerate(used):
        width, height = frame_size(boxes)
        for b in boxes:
            if not b.ignored:
                side = (b.width * b.height) ** 0.5 / max(width, height)
                rows.append((image, b.label, side, b.width / b.height, (b.y + b.height / 2) / height))
    image, label, size, aspect, row = np.array(rows, dtype=np.float64).T
    shared, by_row = _size_correlations(image, label, size, row)
    regions = [[b for b in boxes if b.ignored] for boxes in used]
    sides = [(b.width * b.height) ** 0.5 / max(frame_size(boxes)) for boxes in used for b in boxes if b.ignored]
    return Figures(
        source=f"VisDrone2019-DET train: {len(used)} images, {len(rows)} objects",
        class_share={name: round(float((label == k).mean()), 5) for k, name in enumerate(visdrone.NAMES)},
        class_concentration=round(_concentration(image, label), 3),
        objects_per_image=_quantiles(np.bincount(image.astype(int)).astype(float)),
        size={name: _quantiles(size[label == k]) for k, name in enumerate(visdrone.NAMES)},
        aspect={name: _quantiles(aspect[label == k]) for k, name in enumerate(visdrone.NAMES)},
        row=_quantiles(row),
        size_shared=round(shared, 4),
        size_by_row=round(by_row, 4),
        ignored_per_image=_quantiles(np.array([float(len(r)) for r in regions])),
        ignored_side=_quantiles(np.array(sides)),
    )


def _quantiles(values: Floats) -> list[float]:
    return [round(float(v), 5) for v in np.quantile(values, LEVELS)]


def _scores(values: Floats) -> Floats:
    """Return each value's normal score: the standard normal quantile of its rank."""
    rank = np.empty(len(values))
    rank[np.argsort(values, kind="stable")] = (np.arange(len(values)) + 0.5) / len(values)
    return np.array([_NORMAL.inv_cdf(r) for r in rank])


def _size_correlations(image: Floats, label: Floats, size: Floats, row: Floats) -> tuple[float, float]:
    """Split the variance of size (in normal scores within the class) into image, row and rest."""
    z_size = np.empty(len(size))
    for k in np.unique(label):
        z_size[label == k] = _scores(size[label == k])
    z_row = _scores(row)
    groups = image.astype(int)
    count = np.bincount(groups)

    def centred(z: Floats) -> Floats:
        return np.asarray(z - (np.bincount(groups, z) / count)[groups])

    by_row = float((centred(z_size) * centred(z_row)).sum() / (centred(z_row) ** 2).sum())
    rest = z_size - by_row * z_row
    within = float((centred(rest) ** 2).sum() / (len(rest) - len(count)))
    return max(1 - by_row**2 - within, 0.0) ** 0.5, by_row


def _concentration(image: Floats, label: Floats) -> float:
    """Fit a Dirichlet's concentration by how often two objects of one image share their class.

    P(same class) = s + (1 - s) / (1 + concentration), s = sum of the squared class shares.
    """
    per_image = [Counter(label[image == i].tolist()) for i in np.unique(image)]
    pairs = [(sum(n * (n - 1) for n in c.values()), c.total() * (c.total() - 1)) for c in per_image if c.total() > 1]
    same = float(np.mean([alike / all_pairs for alike, all_pairs in pairs]))
    by_chance = float(((np.bincount(label.astype(int)) / len(label)) ** 2).sum())
    return (1 - by_chance) / (same - by_chance) - 1


def main(arguments: Sequence[str]) -> int:
    """Print the figures of the archive named as the only argument."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m rdrkd.data.scenes.fit_visdrone ANNOTATIONS.tar.gz\n")
        return 2
    text = json.dumps(asdict(fit(read_annotations(Path(arguments[0])))), indent=1)
    sys.stdout.write(re.sub(r"\n\s+(?=[-\d\]])", " ", text) + "\n")  # each distribution on one line
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
