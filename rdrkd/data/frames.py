"""The annotations of one image in a common form for all file formats: pixels, top-left corner, class index."""

from collections.abc import Iterable
from dataclasses import dataclass

IN_PX = "expected boxes in px, got fractions of the image: all of them lie between 0 and 1"


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box: x, y of its top-left corner, width and height, all in px.

    An ignored box counts neither for nor against a detector (COCO: `iscrowd`); with label None, for every class.
    Truncation and occlusion are VisDrone's grades: 0 none, 1 partial, 2 heavy. The area, px^2, is that by which COCO's
    evaluation classifies the object's size, if its annotation gives another than the box's.
    """

    label: int | None
    x: float
    y: float
    width: float
    height: float
    ignored: bool = False
    truncation: int = 0
    occlusion: int = 0
    area: float | None = None

    def __post_init__(self) -> None:
        if self.label is None and not self.ignored:
            raise ValueError("expected a class index for a box that is not ignored, got None")


@dataclass(frozen=True, slots=True)
class Frame:
    """An image file's name, its width and height in px, and its boxes."""

    file: str
    width: int
    height: int
    boxes: tuple[Box, ...]


def are_fractions(boxes: Iterable[Box]) -> bool:
    """Return whether boxes are fractions of their images: none exceeds 1, and there are enough to exclude chance."""
    found = False
    for box in boxes:
        if max(abs(box.x), abs(box.y), box.x + box.width, box.y + box.height) > 1.01:
            return False
        found = found or not float(box.width).is_integer()
    return found
