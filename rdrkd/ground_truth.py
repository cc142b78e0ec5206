"""Ground truth for the COCO protocol: from `annotations/<split>.json` where there is one, else from YOLO labels.

In the result an image's id is its index in the list of evaluated images, and a category's id is its class index.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """Read COCO JSON; categories are matched by name, images by file name.

    Returns:
        The ground truth, and a sentence for each thing of the file that the evaluation leaves out.

    Raises:
        DatasetError: the file is no COCO JSON, or does not fit the images.
    """
    source = _read(file)
    index_of = _match_images(file, source["images"], images)
    class_of = {c["id"]: names.index(c["name"]) for c in source["categories"] if c["name"] in names}
    used = [a for a in source["annotations"] if a["image_id"] in index_of and a["category_id"] in class_of]
    notes = _left_out(file, source, index_of, class_of, images)
    rows = (
        (
            index_of[a["image_id"]],
            class_of[a["category_id"]],
            [float(v) for v in a["bbox"]],
            float(a.get("area", a["bbox"][2] * a["bbox"][3])),
            int(a.get("iscrowd", 0)),
        )
        for a in used
    )
    return _coco_json(images, names, rows, sorted(index_of.values())), notes


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


def _read(file: Path) -> CocoJson:
    """Read a COCO JSON file and check the fields that the evaluation reads."""
    try:
        source = json.loads(file.read_bytes())
        for entry in source["images"]:
            entry["id"], str(entry["file_name"])
        for entry in source["categories"]:
            entry["id"], entry["name"]
        for entry in source["annotations"]:
            if len([float(value) for value in entry["bbox"]]) != 4:
                raise ValueError(f"a bbox of {len(entry['bbox'])} numbers")
            entry["image_id"], entry["category_id"]
    except KeyError as error:
        raise DatasetError(f"{file.name}: expected COCO JSON, a {error} is missing") from error
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{file.name}: expected COCO JSON, got {error}") from error
    return dict(source)


def _match_images(file: Path, entries: list[dict[str, Any]], images: Sequence[LabelledImage]) -> dict[Any, int]:
    """Map the file's image ids to indices of evaluated images: equal file names, and folders where names repeat."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_name[image.path.name].append(index)
    matched: dict[Any, int] = {}
    problems = []
    for entry in entries:
        candidates = by_name.get(Path(entry["file_name"]).name, [])
        exact = [i for i in candidates if images[i].path.as_posix().endswith("/" + entry["file_name"])]
        found = exact if len(exact) == 1 else candidates
        if len(found) == 1:
            image = images[found[0]]
            matched[entry["id"]] = found[0]
            size = (entry.get("width", image.width), entry.get("height", image.height))
            if size != (image.width, image.height):
                detail = f"expected {image.width}x{image.height} px, the image's size, got {size[0]}x{size[1]}"
                problems.append(Problem(f"{file.name}: {entry['file_name']}", detail))
    if problems:
        raise DatasetError(f"{file.name}: {len(problems)} images have another size than the file says", problems)
    if not matched:
        raise DatasetError(f"{file.name}: expected the file names of the split's images, got none of them")
    return matched


def _left_out(
    file: Path,
    source: CocoJson,
    index_of: dict[Any, int],
    class_of: dict[Any, int],
    images: Sequence[LabelledImage],
) -> list[str]:
    """Say what is not evaluated: images on one side only, categories that the dataset does not name."""
    notes = []
    if missing := len(images) - len(set(index_of.values())):
        notes.append(f"{missing} of {len(images)} images are not in {file.name} and are left out of the COCO figures")
    if unknown := len(source["images"]) - len(index_of):
        notes.append(f"{unknown} images of {file.name} are not in the split and are left out")
    if strange := [c["name"] for c in source["categories"] if c["id"] not in class_of]:
        notes.append(f"{file.name} has categories that the dataset does not name; left out: {strange}")
    return notes
