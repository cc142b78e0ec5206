"""COCO JSON: one file per split, of which bounding boxes, categories, areas and ignore flags are read."""

import json
import mmap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rdrkd.data import coco_schema as schema
from rdrkd.data import yolo
from rdrkd.data.coco_schema import Category, ImageEntry
from rdrkd.data.frames import IN_PX, Box, Frame, are_fractions
from rdrkd.data.ignored import ignored_among, note
from rdrkd.errors import DatasetError, Problem
from rdrkd.file_signatures import head_of, placeholder

_LISTS = ("images", "categories", "annotations")
_SLACK = 1.01  # factor by which an area may exceed its box's, from rounding, without a report


@dataclass(frozen=True)
class Parsed:
    """A frame for each image, a problem for each faulty entry, which the frames omit, and the corrections.

    Attributes:
        incomplete: file names of the frames that lost a box to a fault.
        strays: number of annotations that name no image of the file; they may be missing from any frame.
    """

    frames: list[Frame]
    image_problems: list[Problem]
    annotation_problems: list[Problem]
    warnings: list[str] = field(default_factory=list)
    incomplete: frozenset[str] = frozenset()
    strays: int = 0


@dataclass(frozen=True)
class Labels:
    """Class numbers by category id; None for a category whose boxes are ignored for every class.

    Attributes:
        of: category id -> class number.
        left_out: names of categories that only group others and have no annotation.
        ignored: names of categories whose boxes are ignored.
    """

    of: dict[int, int | None]
    left_out: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return a sentence for each kind of category that is not a class."""
        notes = []
        if self.left_out:
            notes.append(f"dropped categories that only group others: {', '.join(self.left_out[:20])}")
        if self.ignored:
            notes.append(note(self.ignored))
        return notes


def to_json(frames: Iterable[Frame], names: Sequence[str]) -> dict[str, Any]:
    """Return frames as COCO JSON: category id = class index + 1; a box ignored for every class is a crowd of each."""
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
        DatasetError: entries are faulty; with a problem for each.
    """
    parsed = parse(file, names)
    problems = [*parsed.image_problems, *parsed.annotation_problems]
    if problems:
        raise DatasetError(f"{problems[0].where}: {problems[0].detail}", problems)
    return parsed.frames


def parse(file: Path, names: Sequence[str], where: str | None = None) -> Parsed:
    """Read the valid part of COCO JSON, with a problem per faulty entry; `where` is the file's name in problems."""
    where = where or file.name
    try:
        content = load(file, where)
        labels = labels_of(content, where, names)
    except DatasetError as error:
        return Parsed([], list(error.problems), [])
    return parse_content(content, where, names, labels)


def load(file: Path, where: str) -> dict[str, Any]:
    """Load a file that has the form of COCO JSON; `where` is its name in problems.

    Raises:
        DatasetError: it does not have that form.
    """
    try:
        content = json.loads(file.read_bytes().removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_distinct_keys)
    except (ValueError, RecursionError) as error:
        if (left := placeholder(head_of(file))) is not None:
            raise _refused(where, f"expected JSON, got {left}") from error
        raise _refused(where, f"expected JSON, got: {str(error)[:200]}") from error
    if not (isinstance(content, dict) and all(_is_list_of_objects(content.get(key)) for key in _LISTS)):
        missing = [key for key in _LISTS if not isinstance(content, dict) or key not in content]
        got = f"none called {', '.join(missing)}" if missing else "others"
        raise _refused(where, f"expected COCO JSON with the lists {', '.join(_LISTS)}, got {got}")
    return content


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with distinct keys; of a repeated key, the JSON reader would silently keep the last value.

    Raises:
        ValueError: a key is repeated.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:80]!r} more than once in an object")
    return found


def is_coco(file: Path) -> bool:
    """Return whether a file names the lists of COCO JSON; fast, without parsing what may be gigabytes."""
    if not file.stat().st_size:
        return False
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _lists_named(content) == len(_LISTS)


def resembles_coco(file: Path) -> bool:
    """Return whether a file was meant as COCO JSON: at most one of its lists is missing."""
    if not file.stat().st_size:
        return False
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _lists_named(content) >= len(_LISTS) - 1


def _lists_named(content: mmap.mmap) -> int:
    wide = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(content[:2], "utf-8")  # as `json.loads` does
    return sum(content.find(f'"{key}"'.encode(wide)) >= 0 for key in _LISTS)


def classes_of(content: dict[str, Any], where: str, others: Iterable[dict[str, Any]] = ()) -> list[str]:
    """Return the names of the categories that are classes, in the order of their ids.

    Groups without annotations (Roboflow's root) and VisDrone's ignored categories are not classes.

    Args:
        content: as returned by `load`.
        where: the file's name in problems.
        others: the contents of other splits, whose annotations also count; read only if needed.

    Raises:
        DatasetError: the categories are invalid.
    """
    found = _categories(content, where)
    used, ignored = _used(content), _ignored_ids(found)
    empty = {(one.id, one.name) for one in found if one.is_group and one.id not in used}
    if empty:
        empty -= {named for other in others for named in _used_names(other)}
    return [one.name for one in found if one.id not in ignored and (one.id, one.name) not in empty]


def labels_of(content: dict[str, Any], where: str, names: Sequence[str]) -> Labels:
    """Return the class number of each category, matched by name.

    Raises:
        DatasetError: the categories are invalid, or have other names than the classes.
    """
    found = _categories(content, where)
    used, ignored = _used(content), _ignored_ids(found)
    index = {schema.name(name): number for number, name in enumerate(names)}
    of: dict[int, int | None] = {}
    left_out: list[str] = []
    by_name = Counter(one.name for one in found)
    for one in found:
        if one.is_group and one.id not in used and (one.name not in index or by_name[one.name] > 1):
            left_out.append(one.name)
        elif one.name in index:
            of[one.id] = index[one.name]
        elif one.id in ignored:
            of[one.id] = None
        else:
            break
    else:
        taken = Counter(label for label in of.values() if label is not None)
        if len(taken) == len(names) and max(taken.values(), default=0) <= 1:
            return Labels(of, left_out, [one.name for one in found if of.get(one.id, 0) is None])
    came = [one.name for one in found][:20]
    raise _refused(f"{where}: categories", f"expected the dataset's class names {list(names)[:20]}, got {came}")


def parse_content(
    content: dict[str, Any], where: str, names: Sequence[str], labels: Labels, trainable: bool = False
) -> Parsed:
    """Read the valid part of COCO JSON.

    Args:
        content: as returned by `load`.
        where: the file's name in problems.
        names: class names by class number.
        labels: as returned by `labels_of`.
        trainable: a box that cannot be a YOLO label is also a fault.

    Raises:
        DatasetError: trainable boxes are fractions of their images, and not in px.
    """
    known, image_problems = _images(where, content["images"])
    declared = {schema.integer(entry.get("id")) for entry in content["images"]}
    reader = _Boxes(where, known, declared, labels, trainable)
    for number, entry in enumerate(content["annotations"]):
        reader.take(number, entry)
    if trainable and are_fractions(box for boxes in reader.boxes.values() for box in boxes):
        raise _refused(f"{where}: annotations", IN_PX)
    frames = [
        Frame(e.file, e.width, e.height, _merge_regions(reader.boxes[image_id], len(names)))
        for image_id, e in known.items()
    ]
    incomplete = frozenset(known[image_id].file for image_id in reader.incomplete)
    return Parsed(frames, image_problems, reader.problems, reader.warnings(), incomplete, reader.strays)


def _categories(content: dict[str, Any], where: str) -> list[Category]:
    found = schema.categories(content["categories"])
    if isinstance(found, str):
        raise _refused(f"{where}: categories", found)
    return found


def _used(content: dict[str, Any]) -> set[int | None]:
    return {schema.integer(entry.get("category_id")) for entry in content["annotations"]}


def _used_names(content: dict[str, Any]) -> set[tuple[int | None, str | None]]:
    """Return ids and names of the categories that have annotations."""
    used = _used(content)
    named = ((schema.integer(entry.get("id")), schema.name(entry.get("name"))) for entry in content["categories"])
    return {(id_, name) for id_, name in named if id_ in used}


def _ignored_ids(found: Sequence[Category]) -> set[int]:
    """Return the ids of the categories whose boxes count neither for nor against a detector."""
    ignored = ignored_among(one.name for one in found)
    return {one.id for one in found if one.name in ignored}


def _refused(where: str, detail: str) -> DatasetError:
    return DatasetError(f"{where}: {detail}", [Problem(where, detail)])


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _images(where: str, entries: Sequence[dict[str, Any]]) -> tuple[dict[int, ImageEntry], list[Problem]]:
    known: dict[int, ImageEntry] = {}
    problems = []
    for number, entry in enumerate(entries):
        found = schema.image(entry)
        if not isinstance(found, str) and found.id in known:
            found = f"expected each image id once, got {found.id} again"
        if isinstance(found, str):
            problems.append(Problem(f"{where}: images[{number}]", found))
        else:
            known[found.id] = found
    return known, problems


class _Boxes:
    """Reads annotations: their boxes by image id, and problems."""

    def __init__(
        self, where: str, images: dict[int, ImageEntry], declared: Set[int | None], labels: Labels, trainable: bool
    ) -> None:
        self._declared = declared  # ids of images, including those with a faulty entry
        self._where, self._images, self._labels, self._trainable = where, images, labels, trainable
        self.boxes: dict[int, list[Box]] = defaultdict(list)
        self.problems: list[Problem] = []
        self.incomplete: set[int] = set()  # ids of images that lost a box
        self.strays = 0  # annotations of unknown images
        self._areas = 0  # annotations with an unusable `area`
        self._outlines = 0  # annotations whose box comes from their polygons
        self._crowds = 0

    def take(self, number: int, entry: dict[str, Any]) -> None:
        """Read one annotation."""
        found = self._read(entry)
        if isinstance(found, str):
            self.problems.append(Problem(f"{self._where}: annotations[{number}]", found))
            if (image_id := schema.integer(entry.get("image_id"))) in self._images:
                self.incomplete.add(image_id)
            self.strays += image_id is None or image_id not in self._declared
        else:
            image_id, box = found
            self.boxes[image_id].append(box)
            self._crowds += box.ignored and box.label is not None

    def warnings(self) -> list[str]:
        """Return a sentence for each kind of correction."""
        found = []
        if self._areas:
            found.append(
                f"{self._where}: the `area` of {self._areas} annotations is not a positive number, or is larger than "
                "its box; the box's area is used instead"
            )
        if self._outlines:
            found.append(
                f"{self._where}: {self._outlines} annotations have polygons, but no box; it is taken from them"
            )
        if self._crowds and self._trainable:  # not in the output of our conversion
            found.append(
                f"{self._where}: {self._crowds} annotations are crowds (`iscrowd` or `ignore`): excluded from "
                "training, ignored by evaluation"
            )
        return found

    def _read(self, entry: dict[str, Any]) -> tuple[int, Box] | str:
        image_id, category = schema.integer(entry.get("image_id")), schema.integer(entry.get("category_id"))
        crowd, ignore = schema.flag(entry.get("iscrowd")), schema.flag(entry.get("ignore"))
        place = schema.box(entry.get("bbox"))
        if place is None and not entry.get("bbox") and (place := schema.outline(entry.get("segmentation"))) is not None:
            self._outlines += 1
        if image_id is None or image_id not in self._images:
            return f"expected the id of one of the images, got {str(entry.get('image_id'))[:40]}"
        if category is None or category not in self._labels.of:
            return f"expected the id of one of the categories, got {str(entry.get('category_id'))[:40]}"
        if place is None:
            came = str(entry.get("bbox"))[:80]
            return f"expected a bbox of x, y, width, height in px with a size above 0, got {came}"
        if crowd is None or ignore is None:
            came = str(entry.get("iscrowd" if crowd is None else "ignore"))[:40]
            return f"expected 0 or 1 as `{'iscrowd' if crowd is None else 'ignore'}`, got {came}"
        label = self._labels.of[category]
        box = Box(label, *place, ignored=crowd or ignore or label is None)
        image = self._images[image_id]
        if self._trainable and (fault := yolo.box_fault(box, image.width, image.height)) is not None:
            return fault
        return image_id, replace(box, area=self._area(entry, place[2] * place[3]))

    def _area(self, entry: dict[str, Any], box: float) -> float | None:
        """Return the object's area, px^2, if it differs from its box's: that of its mask."""
        if "area" not in entry:
            return None
        area = schema.number(entry["area"])
        if area is None or not 0 < area <= box:
            self._areas += area is None or not 0 < area <= _SLACK * box
            return None
        return area if area != box else None


def _merge_regions(boxes: Sequence[Box], classes: int) -> tuple[Box, ...]:
    """Merge a region that is a crowd of every class into one box that is ignored for all of them."""
    regions: dict[tuple[float, float, float, float], set[int | None]] = defaultdict(set)
    for box in boxes:
        if box.ignored:
            regions[box.x, box.y, box.width, box.height].add(box.label)
    whole = [place for place, found in regions.items() if len(found) == classes > 1 or None in found]
    kept = [b for b in boxes if not (b.ignored and (b.x, b.y, b.width, b.height) in whole)]
    return (*kept, *(Box(None, x, y, w, h, ignored=True) for x, y, w, h in whole))
