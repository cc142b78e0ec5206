"""COCO JSON: one file per split; its bounding boxes, categories and `iscrowd` alone are read."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rdrkd.data.frames import Box, Frame
from rdrkd.errors import DatasetError, Problem


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
                        "area": box.width * box.height,
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
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        return [], [Problem(file.name, f"expected JSON, got: {str(error)[:200]}")]
    keys = ("images", "categories", "annotations")
    if not (isinstance(content, dict) and all(_is_list_of_objects(content.get(key)) for key in keys)):
        return [], [Problem(file.name, f"expected COCO JSON with the lists {', '.join(keys)}")]
    labels, problems = _labels(file.name, content["categories"], names)
    known, faults = _images(file.name, content["images"])
    boxes, more = _boxes(file.name, content["annotations"], known, labels)
    frames = [
        Frame(e["file_name"], e["width"], e["height"], _merge_regions(boxes[image_id], len(names)))
        for image_id, e in known.items()
    ]
    return frames, [*problems, *faults, *more]


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _labels(
    file: str, categories: Sequence[dict[str, Any]], names: Sequence[str]
) -> tuple[dict[int, int], list[Problem]]:
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
    file: str, annotations: Sequence[dict[str, Any]], images: dict[int, dict[str, Any]], labels: dict[int, int]
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
            boxes[image_id].append(Box(labels.get(category, 0), x, y, width, height, bool(entry.get("iscrowd"))))
            continue
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


def _merge_regions(boxes: Sequence[Box], classes: int) -> tuple[Box, ...]:
    """Join a region that is a crowd of every class into one box that is ignored for all of them."""
    regions: dict[tuple[float, float, float, float], set[int | None]] = defaultdict(set)
    for box in boxes:
        if box.ignored:
            regions[box.x, box.y, box.width, box.height].add(box.label)
    whole = [place for place, found in regions.items() if len(found) == classes > 1]
    kept = [b for b in boxes if not (b.ignored and (b.x, b.y, b.width, b.height) in whole)]
    return (*kept, *(Box(None, x, y, w, h, ignored=True) for x, y, w, h in whole))
