"""A sample of a dataset's images to browse: the pictures are one stored file, their index is in the row.

The inspection draws both (`rdrkd.data.album`) from an untrusted file, so the index must fit the schema below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints
from sqlalchemy.orm import Session

from api.errors import NotFound, NotReady
from api.storage import Stored
from api.tables.datasets import Dataset
from api.tables.uploads import UploadStatus
from api.uploads.datasets import service

MOST_IMAGES, MOST_BOXES, MOST_BYTES = 240, 500, 2**25
# Bounds of a box's side in px, as the statistics of a dataset name them (`rdrkd.data.figures`).
BOUNDS = {"tiny": (0.0, 16.0), "small": (16.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, float("inf"))}
Size = Literal["tiny", "small", "medium", "large"]
Split = Literal["train", "val", "test"]

_Corner = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]  # x, y, width, height in px
_Box = tuple[Annotated[int, Field(ge=0)], FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]  # class, and the same


class Picture(BaseModel):
    """An image, and the size of its picture in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split
    name: Annotated[str, StringConstraints(max_length=1000)]
    bytes: Annotated[int, Field(gt=0, le=MOST_BYTES)]
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    boxes: Annotated[list[_Box], Field(max_length=MOST_BOXES)]
    ignored: Annotated[list[_Corner], Field(max_length=MOST_BOXES)]
    more: Annotated[int, Field(ge=0)]

    def has(self, label: int | None, size: Size | None) -> bool:
        """Return whether it has a box of this class and size; None: any. With both None, it may have no box at all."""
        if label is None and size is None:
            return True
        low, high = BOUNDS[size] if size is not None else (0.0, float("inf"))
        return any((label is None or box[0] == label) and low**2 <= box[3] * box[4] < high**2 for box in self.boxes)


class Index(BaseModel):
    """The pictures in the order in which the file contains them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[list[Picture], Field(max_length=MOST_IMAGES)]

    def offsets(self) -> list[int]:
        """Return the offset of each picture in the file, followed by the size of the file."""
        return list(accumulate((image.bytes for image in self.images), initial=0))

    def chosen(self, split: Split | None, label: int | None, size: Size | None) -> Sequence[tuple[int, Picture]]:
        """Return the images that match the filters, each with its number."""
        return [
            (number, image)
            for number, image in enumerate(self.images)
            if (split is None or image.split == split) and image.has(label, size)
        ]


@dataclass(frozen=True)
class Album:
    """The stored album of an inspection."""

    stored: Stored
    index: Index


def of(session: Session, dataset_id: str) -> tuple[Dataset, Index]:
    """Return a dataset with its index.

    Raises:
        NotFound: there is no such dataset, or it has no album, because it is invalid or was checked by an earlier
            version.
        NotReady: it is not checked yet.
    """
    row = service.get(session, dataset_id)
    if row.status == UploadStatus.CHECKING:
        raise NotReady("expected a dataset that has been checked, got one that is being checked")
    if row.album_key is None or row.album is None:
        raise NotFound(f"expected a dataset with images to show, got one that is {row.status} without any")
    return row, Index.model_validate(row.album)
