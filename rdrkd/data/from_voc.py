"""Pascal VOC's XML files of an upload as sources of a dataset: VOC's own folders, or each file beside its image."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrkd.data import voc, yolo
from rdrkd.data.conversion import Source, problem, size_fault
from rdrkd.data.data_yaml import SPLITS, checked_names
from rdrkd.data.faults import Faults
from rdrkd.data.formats import own_split, split_of, xml_files
from rdrkd.data.frames import Box, Frame
from rdrkd.data.layout import images_in
from rdrkd.data.names import ImageNames, composed, relative_names
from rdrkd.data.voc import Annotation, Marked
from rdrkd.errors import DatasetError, Problem
from rdrkd.file_signatures import head_of, placeholder
from rdrkd.spec.dividing import Split, needed

Pair = tuple[Path, Annotation]  # an image and what is said of it


@dataclass(frozen=True)
class _Reading:
    """How corners and names are read, of the whole upload alike."""

    folder: Path
    labels: Mapping[str, int]
    from_zero: bool


def sources(folder: Path, faults: Faults, split: Split | None) -> tuple[tuple[str, ...], Iterator[Source]]:
    """Return the class names, sorted, and the splits; what is wrong with single images and objects goes to `faults`.

    Raises:
        DatasetError: nothing divides the images, or a list of a split is at fault.
    """
    pairs = list(_pairs(folder, faults))
    if not pairs:
        faults.refuse()
        raise DatasetError("expected an image for each XML file, got none")
    by_split = _divided(folder, pairs, split, faults)
    found = Counter(marked.name for _, annotation in pairs for marked in annotation.objects)
    if not found:
        faults.refuse()
        raise DatasetError(f"expected objects with a <name> in the XML files, got none in {len(pairs)} of them")
    names = checked_names(sorted(found), "the names of the objects")
    from_zero = any(annotation.from_zero for _, annotation in pairs)
    faults.warnings += _notes([annotation for _, annotation in pairs], from_zero)
    reading = _Reading(folder, {name: label for label, name in enumerate(names)}, from_zero)
    return names, (Source(of, _frames(by_split[of], reading, faults)) for of in SPLITS if by_split.get(of))


def _pairs(folder: Path, faults: Faults) -> Iterator[Pair]:
    """Yield each image with its annotation: the one of its stem, in a folder alike, else the one that names it."""
    found_images = images_in(folder)
    images = ImageNames(found_images, folder)
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in found_images:
        by_stem[image.stem].append(image)
    taken: set[Path] = set()
    files = xml_files(folder)
    annotations = list(filter(voc.is_voc, files))
    others = sorted(set(files) - set(annotations))
    meant = [file for file in others if file.stem in by_stem]
    if rest := sorted(set(others) - set(meant)):
        faults.warnings.append(f"skipped {len(rest)} XML files that are not annotations, such as {rest[0].name}")
    for file in meant:
        came = placeholder(head_of(file)) or "something else"
        where = file.relative_to(folder).as_posix()
        faults.add("images", [Problem(where, f"expected the annotation of an image, got {came}")])
    for file in annotations:
        where = file.relative_to(folder).as_posix()
        try:
            annotation = voc.read(file, where)
        except DatasetError as error:
            faults.add("images", [Problem(where, str(error))])
            continue
        found = _image_of(annotation, by_stem, images)
        if isinstance(found, Path) and found in taken:
            found = f"expected one XML file for {found.name}, got another one"
        if isinstance(found, str):
            faults.add("images", [Problem(where, found)])
            continue
        taken.add(found)
        yield found, annotation
    named = taken | {image for file in meant for image in by_stem[file.stem]}
    if bare := sorted(set(found_images) - named):
        example = bare[0].relative_to(folder).as_posix()
        faults.warnings.append(f"skipped {len(bare)} images without an XML file, such as {example}")


def _image_of(annotation: Annotation, by_stem: Mapping[str, Sequence[Path]], images: ImageNames) -> Path | str:
    """Return the image that an annotation is of, or why there is none."""
    alike = by_stem.get(annotation.file.stem, ())
    beside = [image for image in alike if image.parent == annotation.file.parent]
    sibling = [image for image in alike if image.parent.parent == annotation.file.parent.parent]
    for found in (beside, sibling, alike):
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            return f"expected one image of the name {annotation.file.stem}, got {len(found)}"
    if not annotation.filename:
        return f"expected an image of the name {annotation.file.stem}, or a <filename>, got neither"
    return images.match([annotation.filename])[0]


def _divided(folder: Path, pairs: Sequence[Pair], split: Split | None, faults: Faults) -> dict[str, list[Pair]]:
    """Return the pairs of each split: by VOC's lists, by the names of folders, or as the owner says."""
    lists = _lists(folder, {composed(image.stem) for image, _ in pairs})
    by_split: dict[str, list[Pair]] = defaultdict(list)
    rest: list[Pair] = []
    for pair in pairs:
        of = _split_of(pair[0], folder, lists)
        (rest if of is None else by_split[of]).append(pair)
    if split is not None and (own := own_split(by_split, split)) is not None:
        raise DatasetError(own)
    if split is not None:
        pool = rest + by_split.pop("train", [])
        divided = split.divide(relative_names([image for image, _ in pool], folder))
        return by_split | {of: [pool[index] for index in indices] for of, indices in divided.items()}
    if not by_split:
        raise needed(f"Pascal VOC annotations of {len(pairs)} images")
    if rest:
        where = "lists of ImageSets" if lists else "folders named after a split"
        faults.warnings.append(f"dropped {len(rest)} images that are in none of the {where}, such as {rest[0][0].name}")
    return by_split


def _split_of(image: Path, folder: Path, lists: Mapping[str, set[str]]) -> str | None:
    """Return the split of an image, by the lists where there are any."""
    if not lists:
        return split_of(image.relative_to(folder).parent)
    found = [of for of, stems in lists.items() if composed(image.stem) in stems]
    if len(found) > 1:
        raise DatasetError(f"expected each image in one list of ImageSets, got {image.stem} in {', '.join(found)}")
    return found[0] if found else None


def _lists(folder: Path, stems: set[str]) -> dict[str, set[str]]:
    """Return which of the stems belong to each split, as `ImageSets/Main/{train,val,test}.txt` list them."""
    lists: dict[str, set[str]] = {}
    for split in SPLITS:
        files = [p for p in folder.rglob(f"ImageSets/**/{split}.txt") if p.is_file()]
        main = [p for p in files if p.parent.name == "Main"] or files
        if len(main) > 1:
            raise DatasetError(f"expected one ImageSets list of {split}, got {len(main)}")
        if main:
            try:
                lines = main[0].read_text(encoding="utf-8-sig").splitlines()
            except UnicodeDecodeError as error:
                raise DatasetError(f"{main[0].name}: expected a list in UTF-8, got: {error}") from error
            lists[split] = {_stem(line.strip(), stems) for line in lines if line.strip()}
    return lists


def _stem(line: str, stems: set[str]) -> str:
    """Return the stem that a line of a list names, with or without a suffix, a folder, and the flag of a class.

    >>> _stem("./JPEGImages/a 7.png", {"a 7"}), _stem("b -1", {"b"})
    ('a 7', 'b')
    """
    name = Path(composed(line))
    candidates = (name.name, name.stem, re.sub(r"\s+(-1|0|1)$", "", name.name))
    return next((stem for stem in candidates if stem in stems), name.name)


def _frames(pairs: Sequence[Pair], reading: _Reading, faults: Faults) -> Iterator[tuple[Path, Frame]]:
    for image, annotation in pairs:
        where = annotation.file.relative_to(reading.folder).as_posix()
        size, fault = size_fault(image)
        if size is not None and annotation.size is not None and annotation.size != size:
            came = "x".join(map(str, annotation.size))
            fault = f"expected the size of its image, {size[0]}x{size[1]} px, got {came}"
        place = where if size is not None else image.relative_to(reading.folder).as_posix()
        faults.add("images", problem(place, fault))
        if size is None or fault is not None:
            continue
        boxes, problems = [], list(annotation.problems)
        for marked in annotation.objects:
            box = _box(marked, reading)
            wrong = yolo.box_fault(box, *size) if box is not None else _order(marked)
            if box is None or wrong is not None:
                problems += problem(marked.where, wrong)
            else:
                boxes.append(box)
        faults.add("annotations", problems)
        if not (problems and faults.drop_incomplete(where)):
            yield image, Frame(image.name, *size, tuple(boxes))


def _box(marked: Marked, reading: _Reading) -> Box | None:
    """Return an object's box: VOC counts px from 1 and includes the last one, other tools give edges from 0."""
    left, top, right, bottom = marked.corners
    if right < left or bottom < top:
        return None
    first = 0 if reading.from_zero else 1
    label = reading.labels[marked.name]
    return Box(label, left - first, top - first, right - left + first, bottom - top + first, marked.difficult)


def _order(marked: Marked) -> str:
    return f"expected xmin <= xmax and ymin <= ymax, got {', '.join(f'{value:g}' for value in marked.corners)}"


def _notes(annotations: Sequence[Annotation], from_zero: bool) -> list[str]:
    objects = [marked for annotation in annotations for marked in annotation.objects]
    notes = [
        "coordinates are read as edges starting at 0, because some are below 1 or not whole numbers"
        if from_zero
        else "coordinates are read as in VOC: whole px starting at 1, the last one included"
    ]
    if difficult := sum(marked.difficult for marked in objects):
        notes.append(f"{difficult} objects are `difficult`: excluded from training, ignored by evaluation")
    if polygons := sum(marked.polygon for marked in objects):
        notes.append(f"{polygons} objects are polygons; their bounding boxes are used")
    return notes
