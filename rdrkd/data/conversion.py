"""Convert an unpacked upload in another layout to YOLO layout, in place."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from rdrkd.data import coco, yolo
from rdrkd.data.data_yaml import write_yaml
from rdrkd.data.frames import Frame
from rdrkd.data.images import ImageFault, size_of
from rdrkd.data.names import folded, relative_names
from rdrkd.errors import Problem
from rdrkd.spec.splitting import Split

_NEW = ".converted"
_LONGEST_NAME = 255  # bytes of a file's name on Linux' and Macs' disks


@dataclass(frozen=True)
class Source:
    """One split of an upload: its images, each with its frame."""

    split: str
    frames: Iterable[tuple[Path, Frame]]


@dataclass
class Made:
    """The outcome of a conversion.

    Attributes:
        came_from: new path of each image -> its path in the upload; both relative.
        repeated: number of dropped duplicate boxes.
    """

    came_from: dict[str, str] = field(default_factory=dict)
    repeated: int = 0


def rewrite(folder: Path, names: Sequence[str], sources: Iterator[Source]) -> Made:
    """Write the sources in YOLO layout, with COCO JSON that keeps the ignored regions, and remove everything else.

    Ignored boxes are left out of the labels. Images keep their names; of two with the same stem, the second is prefixed
    with its folders' names, since labels are found by stem.

    Args:
        folder: the unpacked upload.
        names: class names by class number.
        sources: the splits, one at a time: annotations may be large.
    """
    new, made, splits = folder / _NEW, Made(), []
    for source in sources:
        write_split(new, folder, source, names, made)
        splits.append(source.split)
    write_yaml(new / "data.yaml", names, splits)
    for path in folder.iterdir():
        if path != new:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list(new.iterdir()):
        path.rename(folder / path.name)
    new.rmdir()
    return made


def divided(split: Split, frames: Iterable[tuple[Path, Frame]], folder: Path) -> list[Source]:
    """Divide an upload without splits as its owner chose; return the sources.

    Raises:
        DatasetError: the images cannot be divided in this way.
    """
    found = list(frames)
    parts = split.divide(relative_names([image for image, _ in found], folder))
    return [Source(of, [found[index] for index in indices]) for of, indices in parts.items()]


def size_fault(image: Path, frame: Frame | None = None) -> tuple[tuple[int, int] | None, str | None]:
    """Return an image's width and height, px, from its header, and the fault of the image or its frame, if any."""
    try:
        size = size_of(image)
    except ImageFault as fault:
        return None, str(fault)
    if frame is not None and size != (frame.width, frame.height):
        return size, f"expected its size, {size[0]}x{size[1]} px, got {frame.width}x{frame.height}"
    return size, None


def write_split(
    new: Path,
    folder: Path,
    source: Source,
    names: Sequence[str],
    made: Made,
    place: Callable[[Path, Path], object] = os.link,
) -> None:
    """Write a split in YOLO layout.

    Args:
        new: the folder of the new dataset.
        folder: the folder to which image names are relative.
        source: the split.
        names: class names by class number.
        made: records the outcome.
        place: puts an image at its new path; by default as a link, which takes no space.
    """
    images, labels = new / "images" / source.split, new / "labels" / source.split
    for made_folder in (images, labels):
        made_folder.mkdir(parents=True)
    taken: set[str] = set()
    kept = []
    for image, frame in source.frames:
        came_from = image.relative_to(folder)
        name = _free_name(came_from, taken)
        place(image, images / name)
        whole, frame = len(frame.boxes), yolo.distinct(replace(frame, file=name))
        made.repeated += whole - len(frame.boxes)
        (labels / name).with_suffix(".txt").write_text(yolo.to_text(frame), encoding="utf-8")
        made.came_from[f"images/{source.split}/{name}"] = came_from.as_posix()
        kept.append(frame)
    coco.write(new / "annotations" / f"{source.split}.json", kept, names)


def _free_name(path: Path, taken: set[str]) -> str:
    """Return an image's name in its split, with a unique stem, also on a case-insensitive disk.

    Control characters, which a local path may have, are replaced: a line of a list cannot hold them.
    """
    plain = "".join("_" if ord(letter) < 32 or ord(letter) == 127 else letter for letter in "/".join(path.parts))
    name, number = plain.rpartition("/")[2], 1
    while folded(PurePath(name).stem) in taken:
        joined = plain.replace("/", "_")
        name = _short(joined if number == 1 else f"{number}_{joined}")
        number += 1
    taken.add(folded(PurePath(name).stem))
    return name


def _short(name: str) -> str:
    """Shorten a name to the bytes that file systems allow by replacing its beginning with a hash."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    start = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{start}_{name.encode()[17 - _LONGEST_NAME :].decode(errors='ignore')}"


def problem(where: str, detail: str | None) -> list[Problem]:
    """Return a list with the fault as a problem; empty without one."""
    return [] if detail is None else [Problem(where, detail)]
