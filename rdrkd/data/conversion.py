"""Turn an unpacked upload in another layout into one in YOLO layout, in its place."""

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
    """One split as it came: its images, each with its frame."""

    split: str
    frames: Iterable[tuple[Path, Frame]]


@dataclass
class Made:
    """What a conversion has made.

    Attributes:
        came_from: the place that each image had in the upload, by its new one; both relative.
        repeated: number of boxes that were dropped because another one of the image equals them.
    """

    came_from: dict[str, str] = field(default_factory=dict)
    repeated: int = 0


def rewrite(folder: Path, names: Sequence[str], sources: Iterator[Source]) -> Made:
    """Write the sources in YOLO layout, with COCO JSON that keeps the ignored regions, and remove all else.

    Ignored boxes are left out of the labels. Images keep their names; of two with one stem the later gets its folders'
    names in front, since labels are found by the stem.

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
    """Return the sources of what came without a split, as its owner divides it.

    Raises:
        DatasetError: the images cannot be divided so.
    """
    found = list(frames)
    parts = split.divide(relative_names([image for image, _ in found], folder))
    return [Source(of, [found[index] for index in indices]) for of, indices in parts.items()]


def size_fault(image: Path, frame: Frame | None = None) -> tuple[tuple[int, int] | None, str | None]:
    """Return an image's width and height, px, as its header says, and what is wrong with it or with its frame."""
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
        folder: the folder from which images are named.
        source: the split.
        names: class names by class number.
        made: takes what was done.
        place: puts an image at its new place; by default as a link, which takes no room.
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
    """Return an image's name in its split; stems tell images apart, also on a disk that ignores case.

    Control characters, which a local path may have, could not be a line of a list.
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
    """Return a name of at most as many bytes as disks take; its beginning gives way to a hash of it."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    start = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{start}_{name.encode()[17 - _LONGEST_NAME :].decode(errors='ignore')}"


def problem(where: str, detail: str | None) -> list[Problem]:
    """Return a fault as a problem, or none."""
    return [] if detail is None else [Problem(where, detail)]
