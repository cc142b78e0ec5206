"""YOLO labels: a text file per image, a line per object: class number, then centre x, y, width, height as shares."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rdrkd.data.frames import Box, Frame
from rdrkd.data.text_files import text_of
from rdrkd.errors import DatasetError, Problem

MOST_LABEL_BYTES = 4 << 20  # of one image's labels
Row = tuple[int, float, float, float, float]
_TOLERANCE = 0.01  # Ultralytics accepts this much beyond the image's edges


def label_path(image: Path, home: Path | None = None) -> Path:
    """Return the label file of an image: the last folder `images` is replaced by `labels`, as in Ultralytics.

    Args:
        image: the image.
        home: a folder above which folders named `images` are not replaced.

    >>> label_path(Path("/d/images/train/a.b.jpg")).as_posix()
    '/d/labels/train/a.b.txt'
    """
    above = "" if home is None or not image.is_relative_to(home) else str(home)
    folder = f"{os.sep}labels{os.sep}".join(str(image)[len(above) :].rsplit(f"{os.sep}images{os.sep}", 1))
    return Path(above + folder).with_suffix(".txt")


def parse_line(line: str, classes: int) -> Row:
    """Parse one line.

    Args:
        line: `class x y width height`, or `class x1 y1 x2 y2 x3 y3 ...`, a polygon, whose box is used.
        classes: number of classes.

    Raises:
        ValueError: the line is not a label; the message tells what was expected and found.

    >>> parse_line("1 .5 .5 .25 .125", classes=2), parse_line("0 .25 .5 .75 .5 .75 1 .25 1", classes=2)
    ((1, 0.5, 0.5, 0.25, 0.125), (0, 0.5, 0.75, 0.5, 0.5))
    """
    words = line.split()
    if len(words) != 5 and not is_polygon(words):
        raise ValueError(f"expected 5 numbers (class x y width height), got {len(words)}")
    try:
        number, *shares = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"expected {len(words)} numbers, got {line.strip()[:80]!r}") from None
    if not (number.is_integer() and 0 <= number < classes):
        raise ValueError(f"expected a class number from 0 to {classes - 1}, got {words[0][:20]}")
    if is_polygon(words):
        return int(number), *_box_of(shares, words[1:])
    for what, share, word in zip(("x", "y", "width", "height"), shares, words[1:], strict=True):
        if not (math.isfinite(share) and -_TOLERANCE <= share <= 1 + _TOLERANCE):
            raise ValueError(f"expected {what} as a share of the image from 0 to 1, got {word[:20]}")
        if what in ("width", "height") and share <= 0:
            raise ValueError(f"expected a {what} above 0, got {word[:20]}")
    x, y, width, height = shares
    return int(number), x, y, width, height


def is_polygon(words: Sequence[str]) -> bool:
    """Return whether a line, split into words, is a class and at least three points."""
    return len(words) >= 7 and len(words) % 2 == 1


def _box_of(shares: Sequence[float], words: Sequence[str]) -> tuple[float, float, float, float]:
    """Return the centre, width and height of a polygon's box, clipped to the image.

    Raises:
        ValueError: a point is outside, or the polygon has no area.
    """
    for share, word in zip(shares, words, strict=True):
        if not (math.isfinite(share) and -_TOLERANCE <= share <= 1 + _TOLERANCE):
            raise ValueError(f"expected points as shares of the image from 0 to 1, got {word[:20]}")
    xs, ys = ([min(max(share, 0.0), 1.0) for share in part] for part in (shares[::2], shares[1::2]))
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    if width <= 0 or height <= 0:
        raise ValueError("expected a polygon with a width and a height above 0, got one without")
    return (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2, width, height


@dataclass(frozen=True)
class Labels:
    """The content of a label file: its boxes, a problem for each faulty line, and corrections.

    Attributes:
        rows: class number, centre x, y, width, height as shares, in the order of the lines, without duplicates.
        boxes: the same, px.
        repeated: number of duplicate lines.
        polygons: number of polygons, whose boxes are used.
    """

    rows: list[Row]
    boxes: list[Box]
    problems: list[Problem]
    repeated: int = 0
    polygons: int = 0


def read_text(text: str, width: int, height: int, classes: int, where: str) -> Labels:
    """Read a label file's text for an image of width x height px."""
    rows: dict[Row, None] = {}
    problems: list[Problem] = []
    read = polygons = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows[parse_line(line, classes)] = None
        except ValueError as error:
            problems.append(Problem(f"{where}:{number}", str(error)))
            continue
        read, polygons = read + 1, polygons + is_polygon(line.split())
    boxes = [Box(label, (x - w / 2) * width, (y - h / 2) * height, w * width, h * height) for label, x, y, w, h in rows]
    return Labels(list(rows), boxes, problems, read - len(rows), polygons)


def read_file(file: Path, width: int, height: int, classes: int, where: str) -> Labels:
    """Read an image's label file, for checks, training and evaluation alike; without a file there are no boxes.

    Args:
        file: the label file.
        width: width of the image, px.
        height: height of the image, px.
        classes: number of classes.
        where: the file's name in problems.
    """
    if not file.is_file():
        return Labels([], [], [])
    if (size := file.stat().st_size) > MOST_LABEL_BYTES:
        return Labels([], [], [Problem(where, f"expected at most {MOST_LABEL_BYTES} bytes, got {size}")])
    try:
        text = text_of(file)
    except UnicodeDecodeError as error:
        return Labels([], [], [Problem(where, f"expected text in UTF-8 or UTF-16, got: {error}")])
    return read_text(text, width, height, classes, where)


def read(file: Path, image: str, width: int, height: int, classes: int) -> Frame:
    """Read one label file; a missing file means an image without objects.

    Raises:
        DatasetError: lines are faulty; with a problem for each.
    """
    labels = read_file(file, width, height, classes, file.name)
    if labels.problems:
        raise DatasetError(f"{labels.problems[0].where}: {labels.problems[0].detail}", labels.problems)
    return Frame(image, width, height, tuple(labels.boxes))


def to_text(frame: Frame) -> str:
    r"""Write a frame's boxes as a label file's text, without ignored ones, which these labels cannot express.

    >>> to_text(Frame("a.png", 100, 50, (Box(2, 10, 5, 20, 10),)))
    '2 0.20000000 0.20000000 0.20000000 0.20000000\n'
    """
    return "".join(_line(box, frame.width, frame.height) for box in frame.boxes if not box.ignored)


def distinct(frame: Frame) -> Frame:
    """Return a frame without boxes that would give a duplicate label line: labels keep only the first."""
    known: set[str] = set()
    boxes = []
    for box in frame.boxes:
        line = "" if box.ignored else _line(box, frame.width, frame.height)
        if not line or line not in known:
            boxes.append(box)
        known.add(line)
    return replace(frame, boxes=tuple(boxes))


def box_fault(box: Box, width: int, height: int) -> str | None:
    """Return why a box cannot be a label of an image of width x height px, or None; ignored ones are never written."""
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
