"""In which of the known layouts an unpacked upload is, by the names and places of its files."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path, PurePath

from rdrkd.data import coco
from rdrkd.data.layout import SPLITS, images_in, is_data_yaml, yamls
from rdrkd.errors import DatasetError

_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

_LOOKED_AT = 50  # annotation files of a folder, to tell VisDrone's


class Format(StrEnum):
    """The layouts that are taken."""

    YOLO = "yolo"  # a data YAML, images/ and labels/
    COCO = "coco"  # a COCO JSON for each split
    VISDRONE = "visdrone"  # images/ and annotations/ of text files for each split


def detect(folder: Path) -> Format:
    """Return the layout of an unpacked upload, by what all of its files hold; a data YAML decides.

    Raises:
        DatasetError: it is in none; the message says what was recognised.
    """
    if any(is_visible(p, folder) and is_data_yaml(p) for p in yamls(folder)):
        return Format.YOLO
    if next(visdrone_folders(folder), None) is not None:
        return Format.VISDRONE
    if any(coco.is_coco(file) for file in json_files(folder)):
        return Format.COCO
    if any(is_visible(p, folder) for p in yamls(folder)):
        return Format.YOLO  # whose reader says what is wrong with the YAML
    if recognised := _recognised(folder):
        raise DatasetError(recognised)
    raise DatasetError(
        "expected a data.yaml with `train`, `val` and `names` (YOLO), COCO JSON (annotations/instances_train.json, "
        f"...) or VisDrone's images/ and annotations/ of each split, got {_shown(folder)}"
    )


def _recognised(folder: Path) -> str | None:
    """Say which other export an upload is, and what it takes to make it a dataset."""
    for classes in sorted(folder.rglob("classes.txt")):
        if is_visible(classes, folder) and (classes.parent / "labels").is_dir():
            there = classes.relative_to(folder).as_posix()
            return (
                f"recognised YOLO labels without a data YAML ({there}, as Label Studio exports them): "
                "expected a data.yaml with `names` and the folders or lists of `train` and `val`"
            )
    if jsons := json_files(folder):
        return (
            f"expected COCO JSON with the lists images, annotations, categories, got {len(jsons)} JSON files without "
            f"them, such as {jsons[0].relative_to(folder).as_posix()}"
        )
    return None


def _shown(folder: Path) -> str:
    """Name what kinds of files an upload has."""
    files = [p for p in folder.rglob("*") if p.is_file() and is_visible(p, folder)]
    kinds = Counter(p.suffix.lower() or "no suffix" for p in files)
    return ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(5)) or "nothing"


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
    """Yield pairs of a folder of images and one of VisDrone's annotations, in paths alike but for these two words."""
    for annotations in sorted(p for p in folder.rglob("*") if p.is_dir() and is_visible(p, folder)):
        parts = list(annotations.relative_to(folder).parts)
        if "annotations" not in parts:
            continue
        parts[len(parts) - 1 - parts[::-1].index("annotations")] = "images"
        images = folder.joinpath(*parts)
        if images.is_dir() and _are_visdrone(sorted(annotations.glob("*.txt"))) and images_in(images):
            yield images, annotations


def is_visible(path: Path, folder: Path) -> bool:
    """Say whether neither the path nor a folder on its way is hidden."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def one_each(found: list[tuple[str | None, str]], what: str) -> None:
    """Make sure that there is a source of a split, and of none two.

    Args:
        found: the split and the name of each source.
        what: they are, for the refusal.

    Raises:
        DatasetError: otherwise.
    """
    for split in SPLITS:
        named = [name for of, name in found if of == split]
        if len(named) > 1:
            raise DatasetError(f"expected only {what} of {split}, got {len(named)}: {', '.join(named[:10])}")
    if not any(of in SPLITS for of, _ in found):
        shown = ", ".join(name for _, name in found[:10])
        raise DatasetError(f"expected {what} of train, val or test, whose name or folder says so, got {shown}")


def _are_visdrone(files: Sequence[Path]) -> bool:
    """Return whether most text files that have a line begin with one of VisDrone's; all may be of empty images."""
    looked_at = files[:: max(1, len(files) // _LOOKED_AT)]
    lines = [line for file in looked_at if (line := _first_line(file))]
    alike = sum(re.fullmatch(rb"-?\d+(,-?\d+){7}", line) is not None for line in lines)
    return bool(files) and 2 * alike >= len(lines)


def _first_line(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(400).removeprefix(b"\xef\xbb\xbf").split(b"\n")[0].strip().rstrip(b",")
