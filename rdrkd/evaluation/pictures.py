"""Draw the detections of models beside the ground truth, from plain Ultralytics predictions.

Each network is drawn from its own best-F1 confidence on: at 0.25 a small student seems to miss everything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data import Dataset, yolo
from rdrkd.evaluation.operating_points import USUAL
from rdrkd.ultralytics_adapter import YOLO

Picture = npt.NDArray[np.uint8]  # (H, W, 3) BGR
Box = tuple[int, Sequence[float], float | None]  # class, x1 y1 x2 y2 in px, score
Corners = tuple[int, ...]  # x1 y1 x2 y2 in px

_SCENES = 4
_SIDE = 360  # px: width of a drawn scene
_HEADING = 30  # px
_GAP = 6  # px
_COLOURS = ((64, 64, 255), (255, 160, 32), (32, 220, 255), (96, 255, 96), (255, 96, 255), (255, 255, 64))  # BGR
_SMALL = 24  # px: boxes with a shorter side get a frame one pixel wide
_TEXT = 0.42  # scale of OpenCV's font: 9 px high


class Drawn(NamedTuple):
    """A network to draw: its `.pt` for plain Ultralytics, and the least confidence of a drawn box."""

    weights: Path
    confidence: float = USUAL


def compare(data: Dataset, networks: Mapping[str, Drawn], target: Path, imgsz: int) -> Path:
    """Draw the truth and each model's detections side by side, for scenes spread over the validation images.

    Args:
        data: the dataset.
        networks: the networks to draw, by name.
        target: PNG to write.
        imgsz: side of the network input, px.

    Returns:
        `target`.
    """
    files = data.images("val")
    chosen = files[:: max(1, len(files) // _SCENES)][:_SCENES]
    images = [data.read(file) for file in chosen]
    truth = [_truth(data, file, image) for file, image in zip(chosen, images, strict=True)]
    columns = {"ground truth": truth}
    for name, (path, confidence) in networks.items():
        found = YOLO(str(path)).predict(images, imgsz=imgsz, conf=confidence, iou=0.5, device="cpu", verbose=False)
        columns[f"{name}, from {confidence:.2g}"] = [_detections(result) for result in found]
    strips = [
        _column(name, [_draw(image, boxes, data.names) for image, boxes in zip(images, column, strict=True)])
        for name, column in columns.items()
    ]
    cv2.imwrite(str(target), _beside(strips))
    return target


def _truth(data: Dataset, file: Path, image: Picture) -> list[Box]:
    height, width = image.shape[:2]
    frame = yolo.read(data.label(file), file.name, width, height, len(data.names))
    return [(box.label or 0, (box.x, box.y, box.x + box.width, box.y + box.height), None) for box in frame.boxes]


def _detections(result: Any) -> list[Box]:
    found = zip(result.boxes.cls.tolist(), result.boxes.xyxy.tolist(), result.boxes.conf.tolist(), strict=True)
    return [(int(label), corners, score) for label, corners, score in found]


def _draw(image: Picture, boxes: Sequence[Box], names: Sequence[str]) -> Picture:
    """Enlarge a scene and draw its boxes, each with its class and, for a detection, its score in percent.

    Text is drawn only where it covers no object: above or below its box, or left out.
    """
    factor = _SIDE / image.shape[1]
    drawn = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    scaled = [tuple(round(value * factor) for value in corners) for _, corners, _ in boxes]
    taken = [*scaled]
    for (label, _, score), (x1, y1, x2, y2) in zip(boxes, scaled, strict=True):
        colour = _COLOURS[label % len(_COLOURS)]
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, 1 if min(x2 - x1, y2 - y1) < _SMALL else 2)
        text = names[label] if score is None else f"{names[label]} {100 * score:.0f}"
        if (place := _room(text, (x1, y1, x2, y2), taken, drawn.shape)) is not None:
            taken.append(place)
            _write(drawn, text, (place[0], place[3]), colour)
    return drawn


def _room(text: str, box: Corners, taken: Sequence[Corners], shape: tuple[int, ...]) -> Corners | None:
    """Return a free place for a box's text, x1 y1 x2 y2 in px, above or below the box; None if there is none."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _TEXT, 1)
    left = max(0, min(box[0], shape[1] - width))
    for top in (box[1] - height - 4, box[3] + 4):
        place = (left, top, left + width, top + height)
        inside = top >= 0 and place[3] <= shape[0]
        if inside and not any(_overlap(place, other) for other in taken if other != box):
            return place
    return None


def _overlap(one: Corners, other: Corners) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write(image: Picture, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write small text that is readable on any background."""
    for shade, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, _TEXT, shade, thickness, cv2.LINE_AA)


def _column(name: str, scenes: Sequence[Picture]) -> Picture:
    heading = np.full((_HEADING, scenes[0].shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(heading, name, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    gap = np.full((_GAP, scenes[0].shape[1], 3), 255, dtype=np.uint8)
    return np.vstack([heading, *(part for scene in scenes for part in (scene, gap))])


def _beside(strips: Sequence[Picture]) -> Picture:
    gap = np.full((strips[0].shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.hstack([part for strip in strips for part in (strip, gap)][:-1])
