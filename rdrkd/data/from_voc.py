"""Pascal VOC's XML files of an upload as sources of a dataset: VOC's own folders, or each file beside its image."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrkd.data import voc, yolo
from rdrkd.data.conversion import Source, problem, size_fault
from rdrkd.data.data_yaml import SPLITS, checked_names
from rdrkd.data.faults import Faults
from rdrkd.data.formats import own_split, splits_in, xml_files
from rdrkd.data.frames import IN_PX, Box, Frame, are_fractions
from rdrkd.data.ignored import ignored_among, note
from rdrkd.data.layout import images_in
from rdrkd.data.names import composed, relative_names
from rdrkd.data.voc import Annotation, Marked
from rdrkd.data.voc_lists import read_lists
from rdrkd.data.voc_matching import Matching
from rdrkd.errors import DatasetError, Problem
from rdrkd.file_signatures import head_of, placeholder
from rdrkd.spec.splitting import Split, needed

Pair = tuple[Path, Annotation]  # an image and its annotation


@dataclass(frozen=True)
class _Reading:
    """How to read corners and names, the same in the whole upload."""

    folder: Path
    labels: Mapping[str, int]
    from_zero: bool


def sources(folder: Path, faults: Faults, split: Split | None) -> tuple[tuple[str, ...], Iterator[Source]]:
    """Return the sorted class names and the splits; add faults of single images and objects to `faults`.

    Raises:
        DatasetError: there are no splits, or a split's list is faulty.
    """
    pairs = list(_pairs(folder, faults))
    if not pairs:
        faults.refuse()
        raise DatasetError("expected an image for each XML file, got none")
    by_split = _divided(folder, pairs, split, faults)
    found = {marked.name for _, annotation in pairs for marked in annotation.objects}
    ignored = ignored_among(found)
    if not found - ignored:
        faults.refuse()
        raise DatasetError(f"expected objects with a <name> in the XML files, got none in {len(pairs)} of them")
    names = checked_names(sorted(found - ignored), "the names of the objects")
    if ignored:
        faults.warnings.append(note(ignored))
    from_zero = any(annotation.from_zero for _, annotation in pairs)
    faults.warnings += _notes([annotation for _, annotation in pairs], from_zero)
    reading = _Reading(folder, {name: label for label, name in enumerate(names)}, from_zero)
    if are_fractions(box for _, one in pairs for marked in one.objects if (box := _box(marked, reading)) is not None):
        raise DatasetError(IN_PX, [Problem("the corners of the objects", IN_PX)])
    return names, (Source(of, _frames(by_split[of], reading, faults)) for of in SPLITS if by_split.get(of))


def _pairs(folder: Path, faults: Faults) -> Iterator[Pair]:
    """Yield each image with its annotation: that with its stem in the matching folder, else the one that names it."""
    images = images_in(folder)
    files = xml_files(folder)
    annotations = list(filter(voc.is_voc, files))
    stems = {composed(image.stem) for image in images}
    others = sorted(set(files) - set(annotations))
    meant = [file for file in others if composed(file.stem) in stems]
    if rest := sorted(set(others) - set(meant)):
        faults.warnings.append(f"skipped {len(rest)} XML files that are not annotations, such as {rest[0].name}")
    for file in meant:
        came = placeholder(head_of(file)) or "something else"
        where = file.relative_to(folder).as_posix()
        faults.add("images", [Problem(where, f"expected the annotation of an image, got {came}")])
    taken: set[Path] = set()
    matching = Matching(images, annotations, folder)
    for file in annotations:
        where = file.relative_to(folder).as_posix()
        try:
            annotation = voc.read(file, where)
        except DatasetError as error:
            faults.add("images", [Problem(where, str(error))])
            continue
        found = matching.image_of(annotation)
        if isinstance(found, Path) and found in taken:
            found = f"expected one XML file for {found.name}, got another one"
        if isinstance(found, str):
            faults.add("images", [Problem(where, found)])
            continue
        taken.add(found)
        yield found, annotation
    named = {composed(file.stem) for file in meant}
    if bare := [image for image in images if image not in taken and composed(image.stem) not in named]:
        example = bare[0].relative_to(folder).as_posix()
        faults.warnings.append(f"skipped {len(bare)} images without an XML file, such as {example}")


def _divided(folder: Path, pairs: Sequence[Pair], split: Split | None, faults: Faults) -> dict[str, list[Pair]]:
    """Return the pairs of each split: from VOC's lists, from folder names, or as the owner divides them."""
    images = [image for image, _ in pairs]
    lists = read_lists(folder, images, faults)
    by_folder = splits_in(folder, [image.parent for image in images], split is not None)
    by_split: dict[str, list[Pair]] = defaultdict(list)
    rest: list[Pair] = []
    for pair in pairs:
        of = lists.get(pair[0]) if lists else by_folder(pair[0].parent)
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
        example = rest[0][0].relative_to(folder).as_posix()
        faults.warnings.append(f"dropped {len(rest)} images that are in none of the {where}, such as {example}")
    return by_split


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
    """Return an object's box: VOC counts px from 1, including the last one; other tools write edges from 0."""
    left, top, right, bottom = marked.corners
    if right < left or bottom < top:
        return None
    first = 0 if reading.from_zero else 1
    label = reading.labels.get(marked.name)  # None: ignored for every class
    ignored = marked.difficult or label is None
    return Box(label, left - first, top - first, right - left + first, bottom - top + first, ignored)


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
