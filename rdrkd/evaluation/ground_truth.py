"""Ground truth for the COCO protocol: from `annotations/<split>.json` if it exists, else from YOLO labels.

In the result an image's id is its index in the list of evaluated images, and a category's id is its class index.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rdrkd.data import coco, yolo
from rdrkd.data.frames import Frame
from rdrkd.data.names import image_names
from rdrkd.errors import DatasetError, Problem

CocoJson = dict[str, Any]


@dataclass(frozen=True)
class LabelledImage:
    """One evaluated image with its YOLO labels."""

    path: Path
    height: int  # px
    width: int  # px
    classes: npt.NDArray[np.int64]  # (N,)
    boxes: npt.NDArray[np.float64]  # (N, 4) centre x, y, width, height as shares of the image


def from_labels(images: Sequence[LabelledImage], names: Sequence[str]) -> CocoJson:
    """Build the ground truth from YOLO labels; an object's area is its box's, and nothing is a crowd."""
    annotations = [
        (index, int(category), _pixels(box, image))
        for index, image in enumerate(images)
        for category, box in zip(image.classes, image.boxes, strict=True)
    ]
    return _coco_json(
        images, names, ((image, category, box, box[2] * box[3], 0) for image, category, box in annotations)
    )


def from_annotations(file: Path, images: Sequence[LabelledImage], names: Sequence[str]) -> tuple[CocoJson, list[str]]:
    """Read COCO JSON as the check reads it; categories are matched by name, images by file name.

    Returns:
        The ground truth, and a sentence for each part of the file that the evaluation ignores.

    Raises:
        DatasetError: the file is not COCO JSON, or does not fit the images.
    """
    frames = [yolo.distinct(frame) for frame in coco.read(file, names)]  # duplicate boxes count once, as in labels
    index = {image.path: number for number, image in enumerate(images)}
    used: dict[int, Frame] = {}
    problems = []
    for frame, found in zip(frames, image_names(list(index)).match([f.file for f in frames]), strict=True):
        if isinstance(found, str):
            continue
        image = images[index[found]]
        if (frame.width, frame.height) != (image.width, image.height):
            detail = f"expected {image.width}x{image.height} px, the image's size, got {frame.width}x{frame.height}"
            problems.append(Problem(f"{file.name}: {frame.file}", detail))
        used[index[found]] = frame
    if problems:
        raise DatasetError(f"{file.name}: {len(problems)} images have another size than the file says", problems)
    if not used:
        raise DatasetError(f"{file.name}: expected the file names of the split's images, got none of them")
    notes = []
    if missing := len(images) - len(used):
        notes.append(f"{missing} of {len(images)} images are not in {file.name} and are left out of the COCO figures")
    if unknown := len(frames) - len(used):
        notes.append(f"{unknown} images of {file.name} are not in the split and are left out")
    return _coco_json(images, names, _rows(used, len(names)), sorted(used)), notes


def _rows(frames: Mapping[int, Frame], classes: int) -> Iterator[tuple[int, int, list[float], float, int]]:
    for index, frame in frames.items():
        for box in frame.boxes:
            area = box.width * box.height if box.area is None else box.area
            for label in range(classes) if box.label is None else (box.label,):
                yield index, label, [box.x, box.y, box.width, box.height], area, int(box.ignored)


def _coco_json(
    images: Sequence[LabelledImage],
    names: Sequence[str],
    annotations: Iterable[tuple[int, int, list[float], float, int]],
    used: Sequence[int] | None = None,
) -> CocoJson:
    """Assemble COCO JSON from (image index, class index, x y w h in px, area in px^2, iscrowd)."""
    fields = ("image_id", "category_id", "bbox", "area", "iscrowd")
    return {
        "images": [
            {"id": i, "file_name": images[i].path.name, "width": images[i].width, "height": images[i].height}
            for i in (range(len(images)) if used is None else used)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        # From 1: the protocol's matching reads the id 0 as "no match".
        "annotations": [{"id": i, **dict(zip(fields, row, strict=True))} for i, row in enumerate(annotations, 1)],
    }


def _pixels(box: npt.NDArray[np.float64], image: LabelledImage) -> list[float]:
    """Turn centre x, y, width, height in shares into x, y, width, height in px."""
    x, y, w, h = (float(v) for v in box)
    return [(x - w / 2) * image.width, (y - h / 2) * image.height, w * image.width, h * image.height]
