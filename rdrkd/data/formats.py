"""In which of the known layouts an unpacked upload is, by the names and places of its files."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path, PurePath

from rdrkd.data.layout import SPLITS, find_yaml, images_in
from rdrkd.errors import DatasetError

_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


class Format(StrEnum):
    """The layouts that are taken."""

    YOLO = "yolo"  # a data YAML, images/ and labels/
    COCO = "coco"  # a COCO JSON for each split
    VISDRONE = "visdrone"  # images/ and annotations/ of text files for each split


def detect(folder: Path) -> Format:
    """Say in which layout an unpacked upload is; a data YAML decides, whatever else there is.

    Raises:
        DatasetError: in none.
    """
    if any(p.suffix.lower() in (".yaml", ".yml") and is_visible(p, folder) for p in folder.rglob("*")):
        return Format.YOLO
    if next(visdrone_folders(folder), None) is not None:
        return Format.VISDRONE
    if json_files(folder):
        return Format.COCO
    try:
        find_yaml(folder)
    except DatasetError as error:
        others = (
            "COCO JSON (annotations/instances_train.json, ...) or VisDrone's images/ and annotations/ of each split"
        )
        raise DatasetError(f"{error}; or else {others}") from error
    raise AssertionError


def split_of(path: PurePath) -> str | None:
    """Say of which split a file or folder is by its own name or else that of the nearest folder that names one.

    >>> [split_of(PurePath(p)) for p in ("annotations/instances_val2017.json", "VisDrone2019-DET-train/images", "a/b")]
    ['val', 'train', None]
    """
    for part in reversed(path.parts):
        named = {_WORDS[word] for word in re.findall(r"[a-z]+", part.lower()) if word in _WORDS}
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def json_files(folder: Path) -> list[Path]:
    """Give the JSON files of an upload."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".json" and is_visible(p, folder))


def visdrone_folders(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Find pairs of a folder of images and one of VisDrone's annotations, `images` and `annotations` in their paths."""
    for annotations in sorted(p for p in folder.rglob("*") if p.is_dir() and is_visible(p, folder)):
        parts = list(annotations.relative_to(folder).parts)
        if "annotations" not in parts or (first := next(iter(sorted(annotations.glob("*.txt"))), None)) is None:
            continue
        parts[len(parts) - 1 - parts[::-1].index("annotations")] = "images"
        images = folder.joinpath(*parts)
        if images.is_dir() and _is_visdrone(first) and images_in(images):
            yield images, annotations


def is_visible(path: Path, folder: Path) -> bool:
    """Say whether neither the path nor a folder on its way is hidden."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def one_each(found: list[tuple[str | None, str]], what: str) -> None:
    """Make sure that train and val are there, and no split twice.

    Args:
        found: the split and the name of each source.
        what: they are, for the refusal.

    Raises:
        DatasetError: otherwise.
    """
    shown = ", ".join(name for _, name in found[:10])
    for split in SPLITS:
        named = [name for of, name in found if of == split]
        if len(named) > 1:
            raise DatasetError(f"expected only {what} of {split}, got {len(named)}: {', '.join(named[:10])}")
        if not named and split != "test":
            raise DatasetError(f"expected {what} of {split}, whose name or folder says so, got {shown}")


def _is_visdrone(file: Path) -> bool:
    """Say whether a text file's first line is VisDrone's; an empty file may be of an image without objects."""
    with file.open("rb") as stream:
        line = stream.read(400).split(b"\n")[0].strip().rstrip(b",")
    return not line or re.fullmatch(rb"-?\d+(,-?\d+){7}", line) is not None
