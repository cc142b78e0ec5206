"""The detections of each network of a run in a few validation images: those with the student's worst misses.

The images are files, the boxes are JSON, so that a viewer can overlay any two networks:

    {"split": "val", "names": [...], "networks": {"student": {"confidence": 0.2}, ...},
     "epoch": 3,                                                            of a training; null once it has ended
     "images": [{"file": "predictions-1.jpg", "name": "0001.jpg", "width": 1360, "height": 765,   px of the original
                 "truth": [[class, x, y, width, height], ...],
                 "found": {"student": [[class, x, y, width, height, score], ...], ...},
                 "missed": {"student": [place in truth, ...], ...},
                 "maps": [{"term", "level", "png", "place": [x, y, width, height]}, ...]}]}      `distillation.overlays`
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rdrkd.data.jpeg import small_jpeg
from rdrkd.data.pixels import Pixels
from rdrkd.evaluation.evaluate import Collector
from rdrkd.evaluation.ground_truth import LabelledImage
from rdrkd.evaluation.misses import Boxes, missed, worst
from rdrkd.files import write_atomically
from rdrkd.run_folder.names import FOUND, SHOWN

Maps = Callable[[Pixels, Boxes], list[dict[str, Any]]]

_CANDIDATES = 500  # images searched for misses, spread over the split
_SIDE = 1024  # px of the longer side of a stored image
_QUALITY = 80  # JPEG quality
_MOST = 300  # boxes per image and network


@dataclass
class Gallery:
    """Collects the networks' detections; the student comes first, as its misses select the images."""

    images: list[LabelledImage] = field(default_factory=list)
    networks: dict[str, float] = field(default_factory=dict)  # network -> least confidence of a detection that is shown
    found: dict[str, list[Boxes]] = field(default_factory=dict)  # network -> one array per image
    history: list[dict[str, Any]] = field(default_factory=list)  # the student after earlier epochs: `moment`

    def add(self, who: str, validator: Collector, confidence: float) -> None:
        """Add a network's detections from a finished validator; the first network's misses select the images."""
        images = validator.images()
        rows = validator.detections()
        rows = rows[rows[:, 5] >= confidence]
        if not self.networks:
            self.images = _worst(images, rows)
        places = {image.path: place for place, image in enumerate(images)}
        self.networks[who] = confidence
        self.found[who] = [_of_image(rows, places[image.path]) for image in self.images]

    def write(
        self,
        read: Callable[[Path], Pixels],
        split: str,
        names: Sequence[str],
        folder: Path,
        maps: Maps | None = None,
        epoch: int | None = None,
        side: int = _SIDE,
    ) -> None:
        """Write the images and the JSON into a folder.

        Args:
            read: returns the pixels of an image: (H, W, 3) blue, green, red.
            split: the evaluated split.
            names: class names.
            folder: a run folder.
            maps: returns an image's distillation maps; None: there are none.
            epoch: the student's epoch during training; None: the run has ended.
            side: px of the longer side of a stored image.

        Raises:
            DiskFullError: no space.
        """
        shown = []
        for place, (image, file) in enumerate(zip(self.images, SHOWN, strict=False)):
            pixels, truth = read(image.path), truth_of(image)
            write_atomically(folder / file, small_jpeg(pixels, side, _QUALITY))
            shown.append(self._entry(place, truth) | {
                "file": file, "name": image.path.name, "width": image.width, "height": image.height,
                "maps": maps(pixels, truth) if maps is not None else [],
            })  # fmt: skip
        networks = {who: {"confidence": confidence} for who, confidence in self.networks.items()}
        content = {"split": split, "epoch": epoch, "names": list(names), "networks": networks, "images": shown}
        content |= {"history": self.history} if self.history else {}
        write_atomically(folder / FOUND, json.dumps(content).encode())  # written last: it refers to the images

    def moment(self, epoch: int) -> dict[str, Any]:
        """Return what the student finds and misses in the images after an epoch, to be kept in `history`."""
        pairs = list(zip(self.found["student"], map(truth_of, self.images), strict=True))
        return {
            "epoch": epoch, "confidence": self.networks["student"],
            "found": [_by_score(boxes) for boxes, _ in pairs],
            "missed": [_misses(truth, boxes) for boxes, truth in pairs],
        }  # fmt: skip

    def _entry(self, place: int, truth: Boxes) -> dict[str, Any]:
        found = {who: boxes[place] for who, boxes in self.found.items()}
        return {
            "truth": _listed(truth),
            "found": {who: _by_score(boxes) for who, boxes in found.items()},
            "missed": {who: _misses(truth, boxes) for who, boxes in found.items()},
        }


def truth_of(image: LabelledImage) -> Boxes:
    """Return an image's objects, in px."""
    sides = image.boxes[:, 2:] * (image.width, image.height)
    corners = image.boxes[:, :2] * (image.width, image.height) - sides / 2
    return np.column_stack([image.classes, corners, sides]).reshape(-1, 5).astype(np.float64)


def _worst(images: Sequence[LabelledImage], rows: Boxes) -> list[LabelledImage]:
    step = max(1, -(-len(images) // _CANDIDATES))
    places = range(0, len(images), step)
    truths = [truth_of(images[place]) for place in places]
    found = [_of_image(rows, place) for place in places]
    return [images[places[place]] for place in worst(truths, found, len(SHOWN))]


def _of_image(rows: Boxes, place: int) -> Boxes:
    """Return the detections of one image, from rows of image, x, y, w, h, score, class."""
    own: Boxes = rows[rows[:, 0] == place]
    return np.asarray(own[:, [6, 1, 2, 3, 4, 5]])


def _by_score(boxes: Boxes) -> list[list[float]]:
    return _listed(boxes[np.argsort(-boxes[:, 5], kind="stable")])


def _misses(truth: Boxes, boxes: Boxes) -> list[int]:
    return [each for each in missed(truth, boxes) if each < _MOST]


def _listed(boxes: Boxes) -> list[list[float]]:
    return [[int(box[0]), *(round(float(value), 3) for value in box[1:])] for box in boxes[:_MOST]]
