"""Detect the layout of an unpacked upload from the names and paths of its files."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from pathlib import Path, PurePath

from rdrkd.data import coco, voc
from rdrkd.data.data_yaml import SPLITS, is_data_yaml, yamls
from rdrkd.data.layout import images_in
from rdrkd.data.names import composed
from rdrkd.data.recognition import class_lists, recognise
from rdrkd.data.remedies import DATA_YAML
from rdrkd.data.text_files import first_line
from rdrkd.errors import DatasetError
from rdrkd.file_signatures import head_of, placeholder
from rdrkd.spec.splitting import HOW, Split

WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

SplitAt = Callable[[Path], str | None]  # path in an upload -> its split
_VISDRONE = re.compile(r"\s*[+-]?\d+(\.\d*)?(\s*,\s*[+-]?\d+(\.\d*)?){7}\s*", re.ASCII)  # an annotation
_LOOKED_AT = 50  # annotation files examined per folder to recognise VisDrone's


class Format(StrEnum):
    """The supported layouts."""

    YOLO = "yolo"  # a data YAML, images/ and labels/
    COCO = "coco"  # a COCO JSON for each split
    VISDRONE = "visdrone"  # images/ and annotations/ of text files for each split
    VOC = "voc"  # an XML file for each image


def detect(folder: Path, split: Split | None = None) -> Format:
    """Return the layout of an unpacked upload, from the content of all its files; a data YAML takes precedence.

    Args:
        folder: the unpacked upload.
        split: how its owner divides it; YOLO labels then need no data YAML.

    Raises:
        DatasetError: the layout is unknown; the message tells what was recognised.
    """
    if any(is_visible(p, folder) and is_data_yaml(p) for p in yamls(folder)):
        return Format.YOLO
    if next(visdrone_folders(folder), None) is not None:
        return Format.VISDRONE
    if any(coco.is_coco(file) for file in json_files(folder)):
        return Format.COCO
    if any(voc.is_voc(file) for file in xml_files(folder)):
        return Format.VOC
    if split is not None and class_lists(_visible_files(folder)):
        return Format.YOLO
    if (missing := _placeholders(folder)) is not None:
        raise DatasetError(missing)
    if any(is_visible(p, folder) for p in yamls(folder)):
        return Format.YOLO  # its reader reports the YAML's faults
    files = _visible_files(folder)
    if recognised := recognise(files, folder):
        raise recognised
    raise DatasetError(
        "expected a data.yaml with `train`, `val` and `names` (YOLO), COCO JSON (annotations/instances_train.json, "
        f"...), Pascal VOC's XML files or VisDrone's images/ and annotations/ of each split, got {_shown(files)}",
        advice=DATA_YAML,
    )


def _visible_files(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and is_visible(p, folder)]


def is_to_be_packed(path: Path) -> bool:
    """Return whether a path is a folder in another layout than YOLO's, which can be read as an archive only."""
    try:
        return path.is_dir() and detect(path) != Format.YOLO
    except DatasetError:
        return False


def _placeholders(folder: Path) -> str | None:
    """Return why a layout cannot be recognised because its describing files were not downloaded; else None."""
    describing = (*yamls(folder), *json_files(folder), *xml_files(folder)[:_LOOKED_AT])
    for file in describing:
        if (left := placeholder(head_of(file))) is not None and is_visible(file, folder):
            where = file.relative_to(folder).as_posix()
            return f"{where}: expected a description of the dataset, got {left}"
    return None


def _shown(files: Sequence[Path]) -> str:
    """Describe the kinds of files in an upload."""
    kinds = Counter(p.suffix.lower() or "no suffix" for p in files)
    return ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(5)) or "nothing"


def split_of(path: PurePath) -> str | None:
    """Return the split of a file or folder, from its own name or the nearest folder that names one.

    >>> [split_of(PurePath(p)) for p in ("annotations/instances_val2017.json", "VisDrone2019-DET-train/images", "a/b")]
    ['val', 'train', None]
    """
    for part in reversed(path.parts):
        named = {WORDS[word] for word in re.findall(r"[a-z]+", part.lower()) if word in WORDS}
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def splits_in(folder: Path, places: Sequence[Path], divided: bool = False) -> SplitAt:
    """Return a function from a path in an upload to its split.

    A folder around the whole upload, such as `my-test-set`, names a split only if nothing inside it does.

    Args:
        folder: the unpacked upload.
        places: paths of the annotations and of the images' folders.
        divided: the owner divides the upload; then a folder around it never names a split.
    """
    around = Path(os.path.commonpath(places)) if places else folder
    around = around.parent if around.is_file() else around
    inner = around if divided or any(split_of(place.relative_to(around)) for place in places) else folder
    return lambda place: split_of(place.relative_to(inner if place.is_relative_to(inner) else folder))


def json_files(folder: Path) -> list[Path]:
    """Return the JSON files of an upload."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".json" and is_visible(p, folder))


def xml_files(folder: Path) -> list[Path]:
    """Return the XML files of an upload."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".xml" and is_visible(p, folder))


def visdrone_folders(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield pairs of folders with images and VisDrone annotations, whose paths differ only in these two words."""
    for annotations in sorted(p for p in folder.rglob("*") if p.is_dir() and is_visible(p, folder)):
        parts = list(annotations.relative_to(folder).parts)
        if "annotations" not in parts:
            continue
        parts[len(parts) - 1 - parts[::-1].index("annotations")] = "images"
        images = folder.joinpath(*parts)
        if images.is_dir() and _are_visdrone(sorted(annotations.glob("*.txt")), images_in(images)):
            yield images, annotations


def is_visible(path: Path, folder: Path) -> bool:
    """Return whether neither the path nor any of its parent folders is hidden."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def one_each(found: list[tuple[str | None, str]], what: str, split: Split | None = None) -> None:
    """Check that there is a source, and at most one for each split.

    Args:
        found: the split and the name of each source.
        what: the kind of source, for the error.
        split: how the owner divides a source without split, of which there must be exactly one.

    Raises:
        DatasetError: this is not so.
    """
    for of in SPLITS:
        named = [name for which, name in found if which == of]
        if len(named) > 1:
            raise DatasetError(f"expected only {what} of {of}, got {len(named)}: {', '.join(named[:10])}")
    there = [of for of, _ in found if of is not None]
    if split is not None:
        if (own := own_split(there, split)) is not None:
            raise DatasetError(own)
        pool = [name for of, name in found if of in (None, "train")]
        if len(pool) != 1:
            raise DatasetError(f"expected {what} to divide, got {len(pool)}: {', '.join(pool[:10]) or 'none'}")
    elif not there:
        shown = ", ".join(name for _, name in found[:10])
        raise DatasetError(f"expected {what} of train, val or test, whose name or folder says so, got {shown}; {HOW}")


def own_split(splits: Collection[str], split: Split) -> str | None:
    """Return why a dataset must not be divided (it already has a validation split or the requested test), or None."""
    if "val" in splits or ("test" in splits and split.test):
        return f"expected no split ({split.text}) for a dataset that has one of its own, got {', '.join(splits)}"
    return None


def _are_visdrone(files: Sequence[Path], images: Sequence[Path]) -> bool:
    """Return whether most of the images' text files begin with a VisDrone line; empty images have none."""
    stems = {composed(image.stem) for image in images}
    of_images = [file for file in files if composed(file.stem) in stems]
    looked_at = of_images[:: max(1, len(of_images) // _LOOKED_AT)]
    lines = [line for file in looked_at if (line := first_line(file).rstrip(","))]
    alike = sum(_VISDRONE.fullmatch(line) is not None for line in lines)
    return bool(of_images) and 2 * alike >= len(lines)
