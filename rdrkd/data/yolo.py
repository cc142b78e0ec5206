"""YOLO labels: a text file per image, a line per object: class number, then centre x, y, width, height as shares."""

import math
import os
from pathlib import Path

from rdrkd.data.frames import Box, Frame
from rdrkd.errors import DatasetError, Problem

MOST_LABEL_BYTES = 4 << 20  # of one image's labels
_TOLERANCE = 0.01  # Ultralytics accepts this much beyond the image's edges


def label_path(image: Path) -> Path:
    """Give the label file of an image: the last folder `images` becomes `labels`, as Ultralytics does it.

    >>> label_path(Path("/d/images/train/a.b.jpg")).as_posix()
    '/d/labels/train/a.b.txt'
    """
    folder = f"{os.sep}labels{os.sep}".join(str(image).rsplit(f"{os.sep}images{os.sep}", 1))
    return Path(folder).with_suffix(".txt")


def parse_line(line: str, classes: int) -> tuple[int, float, float, float, float]:
    """Read one line.

    Args:
        line: `class x y width height`.
        classes: number of classes.

    Raises:
        ValueError: the line is no label; the message says what was expected and what came.

    >>> parse_line("1 .5 .5 .25 .125", classes=2)
    (1, 0.5, 0.5, 0.25, 0.125)
    """
    words = line.split()
    if len(words) != 5:
        raise ValueError(f"expected 5 numbers (class x y width height), got {len(words)}")
    try:
        number, *shares = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"expected 5 numbers, got {line.strip()[:80]!r}") from None
    if not (number.is_integer() and 0 <= number < classes):
        raise ValueError(f"expected a class number from 0 to {classes - 1}, got {words[0][:20]}")
    for what, share, word in zip(("x", "y", "width", "height"), shares, words[1:], strict=True):
        if not (math.isfinite(share) and -_TOLERANCE <= share <= 1 + _TOLERANCE):
            raise ValueError(f"expected {what} as a share of the image from 0 to 1, got {word[:20]}")
        if what in ("width", "height") and share <= 0:
            raise ValueError(f"expected a {what} above 0, got {word[:20]}")
    x, y, width, height = shares
    return int(number), x, y, width, height


def read_text(text: str, width: int, height: int, classes: int, where: str) -> tuple[list[Box], list[Problem]]:
    """Read a label file's text for an image of width x height px: its boxes, and a problem for each line at fault."""
    boxes, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, x, y, w, h = parse_line(line, classes)
        except ValueError as error:
            problems.append(Problem(f"{where}:{number}", str(error)))
            continue
        boxes.append(Box(label, (x - w / 2) * width, (y - h / 2) * height, w * width, h * height))
    return boxes, problems


def read(file: Path, image: str, width: int, height: int, classes: int) -> Frame:
    """Read one label file; a missing file means an image without objects.

    Raises:
        DatasetError: with a problem for each line at fault.
    """
    text = file.read_text(encoding="utf-8-sig") if file.is_file() else ""
    boxes, problems = read_text(text, width, height, classes, file.name)
    if problems:
        raise DatasetError(f"{problems[0].where}: {problems[0].detail}", problems)
    return Frame(image, width, height, tuple(boxes))


def to_text(frame: Frame) -> str:
    r"""Write a frame's boxes as a label file's text; ignored ones are left out, since these labels cannot say so.

    >>> to_text(Frame("a.png", 100, 50, (Box(2, 10, 5, 20, 10),)))
    '2 0.20000000 0.20000000 0.20000000 0.20000000\n'
    """
    return "".join(_line(box, frame.width, frame.height) for box in frame.boxes if not box.ignored)


def box_fault(box: Box, width: int, height: int) -> str | None:
    """Say why a box cannot be a label of an image of width x height px; ignored ones are never written."""
    if box.ignored or box.label is None:
        return None
    try:
        parse_line(_line(box, width, height), box.label + 1)
    except ValueError:
        place = ", ".join(f"{value:g}" for value in (box.x, box.y, box.width, box.height))
        return f"expected a box with its centre in the image of {width}x{height} px, and no larger, got {place}"
    return None


def _line(box: Box, width: int, height: int) -> str:
    shares = (
        (box.x + box.width / 2) / width,
        (box.y + box.height / 2) / height,
        box.width / width,
        box.height / height,
    )
    return " ".join([str(box.label), *(f"{share:.8f}" for share in shares)]) + "\n"
