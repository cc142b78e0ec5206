"""VisDrone folders of an upload as sources of a dataset."""

from collections.abc import Iterator
from pathlib import Path

from rdrkd.data import visdrone, yolo
from rdrkd.data.conversion import Source, problem, size_fault
from rdrkd.data.faults import Faults
from rdrkd.data.formats import one_each, split_of, visdrone_folders
from rdrkd.data.frames import Frame
from rdrkd.data.layout import SPLITS, images_in
from rdrkd.errors import DatasetError, Problem


def sources(folder: Path, faults: Faults) -> tuple[tuple[str, ...], Iterator[Source]]:
    """Return the class names, and the splits; what is wrong with single images and lines goes to `faults`.

    Raises:
        DatasetError: train or val is missing, or a split is there twice.
    """
    found = [(split_of(a.relative_to(folder)), images, a) for images, a in visdrone_folders(folder)]
    one_each([(split, a.relative_to(folder).as_posix()) for split, _, a in found], "a VisDrone folder of annotations")
    ordered = [(split, images, a) for split in SPLITS for of, images, a in found if of == split]
    return visdrone.NAMES, (
        Source(split, _frames(folder, images, annotations, faults)) for split, images, annotations in ordered
    )


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
