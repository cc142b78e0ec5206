"""Pascal VOC: an XML file per image, with a name and the corners of a box in px for each object."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError
from defusedxml.ElementTree import parse as parse_xml

from rdrkd.data import yolo
from rdrkd.data.names import composed
from rdrkd.errors import DatasetError, Problem

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Marked:
    """An object as written, with its original corners, px.

    Attributes:
        polygon: the box is that of its polygon, because the object has no `bndbox`.
    """

    where: str
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    polygon: bool = False


@dataclass(frozen=True)
class Annotation:
    """The content of an XML file."""

    file: Path
    filename: str  # the image's name; "" if missing
    size: tuple[int, int] | None  # width and height, px; None if missing
    objects: tuple[Marked, ...]
    problems: tuple[Problem, ...]

    @property
    def from_zero(self) -> bool:
        """Return whether a corner shows that coordinates begin at 0: VOC's own are integers that begin at 1."""
        return any(value < 1 or not value.is_integer() for marked in self.objects for value in marked.corners)


def is_voc(file: Path) -> bool:
    """Return whether an XML file is an image's annotation, by its beginning."""
    with file.open("rb") as stream:
        head = stream.read(4096).replace(b"\0", b"")  # turns UTF-16 into ASCII, except for its mark
    head = head.removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").lstrip()
    return head.startswith(b"<") and re.search(rb"<annotation[\s>]", head) is not None


def read(file: Path, where: str) -> Annotation:
    """Read an annotation; faults of single objects are its problems.

    Args:
        file: the XML.
        where: its name in problems.

    Raises:
        DatasetError: it is not XML, declares entities, or is not an annotation.
    """
    if (size := file.stat().st_size) > yolo.MOST_LABEL_BYTES:
        raise DatasetError(f"expected at most {yolo.MOST_LABEL_BYTES} bytes, got {size}")
    try:
        root = parse_xml(file, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        detail = str(error) or type(error).__name__
        raise DatasetError(f"expected XML without document type and entities, got: {detail[:200]}") from error
    if root.tag != "annotation":
        raise DatasetError(f"expected <annotation>, got <{root.tag[:40]}>")
    objects, problems = [], []
    for number, element in enumerate(root.iterfind("object"), 1):
        place = f"{where}: object {number}"
        try:
            objects.append(_marked(element, place))
        except ValueError as error:
            problems.append(Problem(place, str(error)))
    return Annotation(file, _text(root, "filename"), _size(root), tuple(objects), tuple(problems))


def _marked(element: Element, where: str) -> Marked:
    name = composed(_text(element, "name"))
    if not name:
        raise ValueError("expected a <name>, got none")
    difficult = _flag(element, "difficult")
    box = element.find("bndbox")
    if box is not None:
        corners = tuple(_number(box, corner) for corner in _CORNERS)
        return Marked(where, name, (corners[0], corners[1], corners[2], corners[3]), difficult)
    if (polygon := element.find("polygon")) is not None:
        xs, ys = _points(polygon)
        return Marked(where, name, (min(xs), min(ys), max(xs), max(ys)), difficult, polygon=True)
    raise ValueError("expected a <bndbox> or a <polygon>, got neither")


def _points(polygon: Element) -> tuple[list[float], list[float]]:
    """Return a polygon's points, written as <x1>, <y1>, ... (Roboflow) or as <pt> or <point> of <x> and <y>."""
    nested = list(_children(polygon, ("pt", "point")))
    pairs: Iterator[tuple[Element, str, str]]
    if nested:
        pairs = ((point, "x", "y") for point in nested)
    else:
        count = sum(re.fullmatch(r"x\d{1,6}", child.tag) is not None for child in polygon)
        pairs = ((polygon, f"x{number}", f"y{number}") for number in range(1, count + 1))
    found = [(_number(holder, x), _number(holder, y)) for holder, x, y in pairs]
    if len(found) < 3:
        raise ValueError(f"expected a polygon of at least 3 points, got {len(found)}")
    return [x for x, _ in found], [y for _, y in found]


def _children(element: Element, tags: tuple[str, ...]) -> Iterator[Element]:
    return (child for child in element if child.tag in tags)


def _size(root: Element) -> tuple[int, int] | None:
    element = root.find("size")
    if element is None:
        return None
    try:
        width, height = _number(element, "width"), _number(element, "height")
    except ValueError:
        return None
    return (int(width), int(height)) if width > 0 and height > 0 else None  # some tools write 0 for an unknown size


def _number(element: Element, tag: str) -> float:
    text = _text(element, tag)
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"expected a number as <{tag}>, got {text[:40]!r}")
    return float(text)


def _flag(element: Element, tag: str) -> bool:
    text = _text(element, tag)
    if text.lower() in ("", "0", "false", "unspecified"):
        return False
    if text.lower() in ("1", "true"):
        return True
    raise ValueError(f"expected 0 or 1 as <{tag}>, got {text[:40]!r}")


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()
