"""COCO JSON: one file per split; its bounding boxes, categories and `iscrowd` alone are read."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rdrkd.data import yolo
from rdrkd.data.frames import Box, Frame
from rdrkd.errors import DatasetError, Problem


@dataclass(frozen=True)
class Parsed:
    """A frame for each image, and a problem for each entry at fault, which the frames leave out."""

    frames: list[Frame]
    image_problems: list[Problem]
    annotation_problems: list[Problem]


def to_json(frames: Iterable[Frame], names: Sequence[str]) -> dict[str, Any]:
    """Give frames as COCO JSON: category id = class index + 1; a box ignored for every class is a crowd of each one."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, frame in enumerate(frames, 1):
        images.append({"id": image_id, "file_name": frame.file, "width": frame.width, "height": frame.height})
        for box in frame.boxes:
            for label in range(len(names)) if box.label is None else (box.label,):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": label + 1,
                        "bbox": [box.x, box.y, box.width, box.height],
                        "area": box.width * box.height if box.area is None else box.area,
                        "iscrowd": int(box.ignored),
                    }
                )
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write(file: Path, frames: Iterable[Frame], names: Sequence[str]) -> None:
    """Write frames as COCO JSON; makes the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(to_json(frames, names), separators=(",", ":")), encoding="utf-8")


def read(file: Path, names: Sequence[str]) -> list[Frame]:
    """Read COCO JSON: a frame per image, in the file's order; categories are matched to the classes by name.

    Raises:
        DatasetError: with a problem for each entry at fault.
    """
    frames, problems = parse(file, names)
    if problems:
        raise DatasetError(f"{problems[0].where}: {problems[0].detail}", problems)
    return frames


def parse(file: Path, names: Sequence[str]) -> tuple[list[Frame], list[Problem]]:
    """Read COCO JSON as far as it goes, and give a problem for each entry at fault."""
    try:
        content = load(file, file.name)
    except DatasetError as error:
        return [], list(error.problems)
    problems = labels_of(file.name, content["categories"], names)[1]
    parsed = parse_content(content, file.name, names)
    return parsed.frames, [*problems, *parsed.image_problems, *parsed.annotation_problems]


def load(file: Path, where: str) -> dict[str, Any]:
    """Read a file that is COCO JSON by its form; `where` is what problems call it.

    Raises:
        DatasetError: it is not.
    """
    keys = ("images", "categories", "annotations")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _refused(where, f"expected JSON, got: {str(error)[:200]}") from error
    if not (isinstance(content, dict) and all(_is_list_of_objects(content.get(key)) for key in keys)):
        raise _refused(where, f"expected COCO JSON with the lists {', '.join(keys)}")
    return content


def category_names(content: dict[str, Any], where: str) -> list[Any]:
    """Give the names of the categories in the order of their ids, whatever they are.

    Raises:
        DatasetError: an id is no integer, or is there twice.
    """
    ids = [category.get("id") for category in content["categories"]]
    if not all(isinstance(id_, int) for id_ in ids) or len(set(ids)) < len(ids):
        raise _refused(f"{where}: categories", f"expected distinct integers as ids, got {str(ids[:20])[:200]}")
    return [category.get("name") for category in sorted(content["categories"], key=lambda category: category["id"])]


def parse_content(content: dict[str, Any], where: str, names: Sequence[str], trainable: bool = False) -> Parsed:
    """Read COCO JSON as far as it goes.

    Args:
        content: what `load` gave.
        where: what problems call the file.
        names: class names by class number.
        trainable: a box that cannot be a YOLO label is at fault, too.
    """
    labels, _ = labels_of(where, content["categories"], names)
    known, image_problems = _images(where, content["images"])
    boxes, annotation_problems = _boxes(where, content["annotations"], known, labels, trainable)
    frames = [
        Frame(e["file_name"], e["width"], e["height"], _merge_regions(boxes[image_id], len(names)))
        for image_id, e in known.items()
    ]
    return Parsed(frames, image_problems, annotation_problems)


def _refused(where: str, detail: str) -> DatasetError:
    return DatasetError(f"{where}: {detail}", [Problem(where, detail)])


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def labels_of(
    file: str, categories: Sequence[dict[str, Any]], names: Sequence[str]
) -> tuple[dict[int, int], list[Problem]]:
    """Give the class number of each category id; none, and a problem, where they have other names."""
    found = [c.get("name") for c in categories]
    if sorted(map(str, found)) != sorted(names):
        detail = f"expected the dataset's class names {list(names)[:20]}, got {found[:20]}"
        return {}, [Problem(f"{file}: categories", detail)]
    return {c["id"]: names.index(c["name"]) for c in categories if isinstance(c.get("id"), int)}, []


def _images(file: str, images: Sequence[dict[str, Any]]) -> tuple[dict[int, dict[str, Any]], list[Problem]]:
    known: dict[int, dict[str, Any]] = {}
    problems = []
    for number, entry in enumerate(images):
        where = f"{file}: images[{number}]"
        sizes = [entry.get("width"), entry.get("height")]
        if not (isinstance(entry.get("id"), int) and isinstance(entry.get("file_name"), str)):
            problems.append(Problem(where, "expected an integer `id` and a text `file_name`"))
        elif not all(isinstance(size, int) and size > 0 for size in sizes):
            problems.append(Problem(where, f"expected `width` and `height` in px, got {str(sizes)[:80]}"))
        elif entry["id"] in known:
            problems.append(Problem(where, f"expected each image id once, got {entry['id']} again"))
        else:
            known[entry["id"]] = entry
    return known, problems


def _boxes(
    file: str,
    annotations: Sequence[dict[str, Any]],
    images: dict[int, dict[str, Any]],
    labels: dict[int, int],
    trainable: bool,
) -> tuple[dict[int, list[Box]], list[Problem]]:
    boxes: dict[int, list[Box]] = defaultdict(list)
    problems = []
    for number, entry in enumerate(annotations):
        image_id, category, place = entry.get("image_id"), entry.get("category_id"), _place(entry.get("bbox"))
        if not (isinstance(image_id, int) and image_id in images):
            detail = f"expected the id of one of the images, got {str(image_id)[:40]}"
        elif not (isinstance(category, int) and (category in labels or not labels)):
            detail = f"expected the id of one of the categories, got {str(category)[:40]}"
        elif place is None:
            came = str(entry.get("bbox"))[:80]
            detail = f"expected a bbox of x, y, width, height in px with a size above 0, got {came}"
        else:
            x, y, width, height = place
            box = Box(labels.get(category, 0), x, y, width, height, bool(entry.get("iscrowd")))
            size = (images[image_id]["width"], images[image_id]["height"])
            if not trainable or (fault := yolo.box_fault(box, *size)) is None:
                boxes[image_id].append(replace(box, area=_area(entry, width * height)))
                continue
            detail = fault
        problems.append(Problem(f"{file}: annotations[{number}]", detail))
    return boxes, problems


def _place(bbox: Any) -> tuple[float, float, float, float] | None:
    """Give a bbox's x, y, width, height in px; None if it is none."""
    if not (isinstance(bbox, list) and len(bbox) == 4):
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in bbox):
        return None
    x, y, width, height = bbox
    return (x, y, width, height) if width > 0 and height > 0 else None


def _area(entry: dict[str, Any], box: float) -> float | None:
    """Give the object's area, px^2, where it is another than its box's: that of its mask."""
    area = entry.get("area")
    if isinstance(area, bool) or not isinstance(area, int | float) or not math.isfinite(area):
        return None
    return float(area) if 0 < area != box else None


def _merge_regions(boxes: Sequence[Box], classes: int) -> tuple[Box, ...]:
    """Join a region that is a crowd of every class into one box that is ignored for all of them."""
    regions: dict[tuple[float, float, float, float], set[int | None]] = defaultdict(set)
    for box in boxes:
        if box.ignored:
            regions[box.x, box.y, box.width, box.height].add(box.label)
    whole = [place for place, found in regions.items() if len(found) == classes > 1]
    kept = [b for b in boxes if not (b.ignored and (b.x, b.y, b.width, b.height) in whole)]
    return (*kept, *(Box(None, x, y, w, h, ignored=True) for x, y, w, h in whole))
