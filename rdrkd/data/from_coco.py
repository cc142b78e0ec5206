"""COCO JSON files of an upload as sources of a dataset: a file for each split, images anywhere in the upload."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from rdrkd.data import coco
from rdrkd.data.conversion import Source, problem, size_fault
from rdrkd.data.faults import Faults
from rdrkd.data.formats import json_files, one_each, split_of
from rdrkd.data.frames import Frame
from rdrkd.data.layout import SPLITS, checked_names, images_in
from rdrkd.errors import DatasetError, Problem


def sources(folder: Path, faults: Faults) -> tuple[tuple[str, ...], Iterator[Source]]:
    """Give the class names, in the order of their ids in the training file, and the splits.

    What is wrong with single images and annotations goes to `faults`.

    Raises:
        DatasetError: train or val is missing, a split is there twice, a file is no COCO JSON, or the categories are not
            the same in all.
    """
    files = _files(folder)
    first = files["train"]
    where = first.relative_to(folder).as_posix()
    names = checked_names(coco.category_names(coco.load(first, where), where), f"{where}: categories")
    images = _Images(folder)
    return names, (
        Source(split, _frames(folder, files[split], split, names, images, faults)) for split in SPLITS if split in files
    )


def _files(folder: Path) -> dict[str, Path]:
    """Find the file of each split. COCO's own archives hold captions and keypoints, too: `instances` are the boxes."""
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for file in json_files(folder):
        by_split[split_of(file.relative_to(folder))].append(file)
    for split, files in by_split.items():
        instances = [file for file in files if "instances" in file.stem.lower()]
        by_split[split] = instances or files
    found = [(split, file) for split, files in by_split.items() for file in files]
    one_each([(split, file.relative_to(folder).as_posix()) for split, file in found], "a COCO JSON")
    return {split: file for split, file in found if split is not None}


def _frames(
    folder: Path, file: Path, split: str, names: Sequence[str], images: "_Images", faults: Faults
) -> Iterator[tuple[Path, Frame]]:
    where = file.relative_to(folder).as_posix()
    content = coco.load(file, where)
    if (differing := coco.labels_of(where, content["categories"], names)[1]) != []:
        raise DatasetError(f"{differing[0].where}: {differing[0].detail}", differing)
    parsed = coco.parse_content(content, where, names, trainable=True)
    faults.add("images", parsed.image_problems)
    faults.add("annotations", parsed.annotation_problems)
    taken: set[Path] = set()
    for frame in parsed.frames:
        image, faulty = _image_of(folder, frame, f"{where}: {frame.file[:200]}", images.find(frame.file, split, file))
        if image in taken:
            faulty = problem(f"{where}: {frame.file[:200]}", "expected an image in one entry, got it in another, too")
        faults.add("images", faulty)
        if image is not None and not faulty:
            taken.add(image)
            yield image, frame


def _image_of(
    folder: Path, frame: Frame, entry: str, found: tuple[Path | None, str | None]
) -> tuple[Path | None, list[Problem]]:
    """Give the image of an entry, and what is wrong with the one or the other."""
    image, fault = found
    if image is None:
        return None, problem(entry, fault)
    size, fault = size_fault(image, frame)
    return image, problem(entry if size is not None else image.relative_to(folder).as_posix(), fault)


class _Images:
    """The images of an upload, to be found by what COCO JSON calls them: with folders of any number, or none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for image in images_in(folder):
            self._by_name[image.name].append(image)

    def find(self, file_name: str, split: str, json: Path) -> tuple[Path | None, str | None]:
        """Give the image of an entry, or say why there is none."""
        wanted = PurePosixPath(file_name.replace("\\", "/")).parts
        ranked = []
        for image in self._by_name.get(wanted[-1] if wanted else "", []):
            place = image.relative_to(self._folder)
            alike = _alike(place.parts, wanted)
            of = split_of(place.parent)
            if alike > 1 or of in (None, split):  # never another split's of the same name
                ranked.append(((alike, of == split, image.parent == json.parent), image))
        ranked.sort(key=lambda entry: entry[0], reverse=True)
        if not ranked:
            return None, "expected an image of this name in the archive, got none"
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            places = ", ".join(image.relative_to(self._folder).as_posix() for _, image in ranked[:3])
            return None, f"expected one image of this name, got {len(ranked)}: {places}"
        return ranked[0][1], None


def _alike(place: Sequence[str], wanted: Sequence[str]) -> int:
    """Count the last parts that two paths share."""
    number = 0
    for one, other in zip(reversed(place), reversed(wanted), strict=False):
        if one != other:
            break
        number += 1
    return number
