"""A picture of what models find, beside the truth, drawn with plain Ultralytics predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data import Dataset, yolo
from rdrkd.ultralytics_adapter import YOLO

Picture = npt.NDArray[np.uint8]  # (H, W, 3) BGR
Box = tuple[int, Sequence[float], float | None]  # class, x1 y1 x2 y2 in px, score

_SCENES = 4
_SIDE = 360  # px of a drawn scene's width
_HEADING = 30  # px
_GAP = 6  # px
_COLOURS = ((64, 64, 255), (255, 160, 32), (32, 220, 255), (96, 255, 96), (255, 96, 255), (255, 255, 64))  # BGR
_LEAST_SCORE = 0.35


def compare(data: Dataset, weights: Mapping[str, Path], target: Path, imgsz: int) -> Path:
    """Draw the truth and each model's detections side by side, for scenes spread over the validation images.

    Args:
        data: the dataset.
        weights: name -> `.pt` that plain Ultralytics loads.
        target: PNG to write.
        imgsz: side of the network input, px.

    Returns:
        `target`.
    """
    files = data.images("val")
    chosen = files[:: max(1, len(files) // _SCENES)][:_SCENES]
    images = [data.read(file) for file in chosen]
    truth = [_truth(file, image, len(data.names)) for file, image in zip(chosen, images, strict=True)]
    columns = {"ground truth": truth}
    for name, path in weights.items():
        found = YOLO(str(path)).predict(images, imgsz=imgsz, conf=_LEAST_SCORE, iou=0.5, device="cpu", verbose=False)
        columns[name] = [_detections(result) for result in found]
    strips = [
        _column(name, [_draw(image, boxes, data.names) for image, boxes in zip(images, column, strict=True)])
        for name, column in columns.items()
    ]
    cv2.imwrite(str(target), _beside(strips))
    return target


def _truth(file: Path, image: Picture, classes: int) -> list[Box]:
    height, width = image.shape[:2]
    frame = yolo.read(yolo.label_path(file), file.name, width, height, classes)
    return [(box.label or 0, (box.x, box.y, box.x + box.width, box.y + box.height), None) for box in frame.boxes]


def _detections(result: Any) -> list[Box]:
    found = zip(result.boxes.cls.tolist(), result.boxes.xyxy.tolist(), result.boxes.conf.tolist(), strict=True)
    return [(int(label), corners, score) for label, corners, score in found]


def _draw(image: Picture, boxes: Sequence[Box], names: Sequence[str]) -> Picture:
    """Enlarge a scene and draw its boxes, each with its class and, of a detection, its score in percent."""
    factor = _SIDE / image.shape[1]
    drawn = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    for label, corners, score in boxes:
        x1, y1, x2, y2 = (round(value * factor) for value in corners)
        colour = _COLOURS[label % len(_COLOURS)]
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, 2)
        text = names[label] if score is None else f"{names[label]} {100 * score:.0f}"
        _write(drawn, text, (x1, y1 - 4 if y1 > 14 else y2 + 12), colour)
    return drawn


def _write(image: Picture, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write small text that is readable on any ground."""
    for shade, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, shade, thickness, cv2.LINE_AA)


def _column(name: str, scenes: Sequence[Picture]) -> Picture:
    heading = np.full((_HEADING, scenes[0].shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(heading, name, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    gap = np.full((_GAP, scenes[0].shape[1], 3), 255, dtype=np.uint8)
    return np.vstack([heading, *(part for scene in scenes for part in (scene, gap))])


def _beside(strips: Sequence[Picture]) -> Picture:
    gap = np.full((strips[0].shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.hstack([part for strip in strips for part in (strip, gap)][:-1])
