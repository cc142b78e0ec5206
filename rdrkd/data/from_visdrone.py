"""VisDrone folders of an upload as sources of a dataset."""

from collections.abc import Iterator
from pathlib import Path

from rdrkd.data import visdrone, yolo
from rdrkd.data.conversion import Source, divided, problem, size_fault
from rdrkd.data.data_yaml import SPLITS
from rdrkd.data.faults import Faults
from rdrkd.data.formats import one_each, splits_in, visdrone_folders
from rdrkd.data.frames import Frame
from rdrkd.data.layout import images_in
from rdrkd.errors import DatasetError, Problem
from rdrkd.spec.dividing import Split


def sources(folder: Path, faults: Faults, split: Split | None) -> tuple[tuple[str, ...], Iterator[Source]]:
    """Return the class names, and the splits; what is wrong with single images and lines goes to `faults`.

    Raises:
        DatasetError: train or val is missing, or a split is there twice.
    """
    pairs = list(visdrone_folders(folder))
    split_at = splits_in(folder, [place for pair in pairs for place in pair], split is not None)
    found = [(split_at(annotations), images, annotations) for images, annotations in pairs]
    one_each([(of, a.relative_to(folder).as_posix()) for of, _, a in found], "a VisDrone folder of annotations", split)
    ordered = [(of, images, a) for which in (*SPLITS, None) for of, images, a in found if of == which]
    sources = {of: _frames(folder, images, annotations, faults) for of, images, annotations in ordered}
    if split is not None:
        pool = sources.pop(None) if None in sources else sources.pop("train")
        parts = divided(split, pool, folder)
        return visdrone.NAMES, iter([*parts, *(Source(of, frames) for of, frames in sources.items() if of is not None)])
    return visdrone.NAMES, (Source(of, frames) for of, frames in sources.items() if of is not None)


def _frames(folder: Path, images: Path, annotations: Path, faults: Faults) -> Iterator[tuple[Path, Frame]]:
    for image in images_in(images):
        where = image.relative_to(folder).as_posix()
        file = annotations / image.relative_to(images).with_suffix(".txt")
        size, fault = size_fault(image)
        if fault is None and not file.is_file():
            fault = f"expected its annotations at {file.relative_to(folder).as_posix()}, got nothing there"
        faults.add("images", problem(where, fault))
        if size is not None and fault is None:
            frame, whole = _frame(file, file.relative_to(folder).as_posix(), image.name, size, faults)
            if frame is not None and (whole or not faults.drop_incomplete(where)):
                yield image, frame


def _frame(file: Path, where: str, image: str, size: tuple[int, int], faults: Faults) -> tuple[Frame | None, bool]:
    """Return an image's annotations, px, and whether none is at fault; None of a file that cannot be read at all."""
    try:
        numbered, problems = visdrone.parse(file, where)
    except DatasetError as error:
        faults.add("images", [Problem(where, str(error))])
        return None, False
    boxes = []
    for number, box in numbered:
        if (fault := yolo.box_fault(box, *size)) is None:
            boxes.append(box)
        else:
            problems.append(Problem(f"{where}:{number}", fault))
    faults.add("lines", problems)
    return Frame(image, *size, tuple(boxes)), not problems
