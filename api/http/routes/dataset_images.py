"""Endpoints to browse a sample of a dataset's images with their boxes."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from api.errors import Gone, Invalid, NotFound, NotReady
from api.http.dependencies import Work, refusals, storage_of
from api.http.routing import Route
from api.pagination import Limit
from api.storage import Storage
from api.storage.media import SANDBOX
from api.uploads.datasets import album
from api.uploads.datasets.album import Picture, Size, Split
from rdrkd.errors import Problem

router = APIRouter(prefix="/datasets/{dataset_id}/images", tags=["datasets"], route_class=Route)

_JPEG: dict[str, Any] = {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}


class Box(BaseModel):
    """An object of an image."""

    label: str = Field(description="class name", examples=["car"])
    box: list[float] = Field(description="x, y, width, height in px of the original image")


class DatasetImage(BaseModel):
    """An image with its boxes."""

    number: int = Field(description="number among the images to show, from 0")
    split: Split
    name: str = Field(description="file name")
    width: int = Field(description="px of the original image")
    height: int = Field(description="px of the original image")
    boxes: list[Box]
    ignored: list[list[float]] = Field(description="regions that evaluation ignores: x, y, width, height in px")
    more_boxes: int = Field(description="number of boxes that are not listed")
    link: str = Field(description="the picture, a JPEG that may be smaller than the original")

    @classmethod
    def of(cls, dataset_id: str, number: int, image: Picture, names: list[str]) -> Self:
        """Show an image."""
        boxes = [Box(label=_name(names, box[0]), box=list(box[1:])) for box in image.boxes]
        return cls(
            number=number, split=image.split, name=image.name, width=image.width, height=image.height, boxes=boxes,
            ignored=[list(region) for region in image.ignored], more_boxes=image.more,
            link=f"/v1/datasets/{dataset_id}/images/{number}",
        )  # fmt: skip


class DatasetImages(BaseModel):
    """A page of images."""

    data: list[DatasetImage]
    total: int = Field(description="number of images that fit the filters")
    has_more: bool
    next: int | None = Field(description="value of `after` for the next page; null on the last page")


@router.get("", operation_id="list_dataset_images", responses=refusals(NotFound, NotReady, Invalid))
def list_dataset_images(
    dataset_id: str,
    work: Work,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[int | None, Query(ge=0, le=10**6, description="`next` of the previous page")] = None,
    split: Annotated[Split | None, Query(description="only images of this split")] = None,
    label: Annotated[str | None, Query(max_length=1000, description="only images with a box of this class")] = None,
    size: Annotated[
        Size | None,
        Query(description="only images with a box of this size, also of `label`: side below 16, 32, 96 px, or larger"),
    ] = None,
) -> DatasetImages:
    """List some of a dataset's images with their boxes, in the order of its splits.

    The check of a dataset chooses at most 120 images, spread over the splits. A dataset that was checked by an earlier
    release has none.
    """
    row, index = album.of(work.session, dataset_id)
    names = [str(name) for name in (row.report or {}).get("names", [])]
    if label is not None and label not in names:
        raise Invalid.at(Problem("/label", f"expected a class of the dataset, got {label[:80]!r}"))
    found = index.chosen(split, None if label is None else names.index(label), size)
    rest = [(number, image) for number, image in found if after is None or number > after]
    shown, more = rest[:limit], len(rest) > limit
    return DatasetImages(
        data=[DatasetImage.of(dataset_id, number, image, names) for number, image in shown],
        total=len(found), has_more=more, next=shown[-1][0] if more else None,
    )  # fmt: skip


@router.get(
    "/{number}",
    operation_id="get_dataset_image",
    response_class=Response,
    responses={200: {"description": "the picture", **_JPEG}, **refusals(NotFound, NotReady, Gone, Invalid)},
)
def get_dataset_image(
    dataset_id: str, number: Annotated[int, Path(ge=0, le=10**6, examples=[0])], work: Work, request: Request
) -> Response:
    """Download a picture of one of a dataset's images: a JPEG with a longer side of at most 800 px, without boxes."""
    row, index = album.of(work.session, dataset_id)
    if number >= len(index.images):
        raise NotFound(f"expected the number of an image below {len(index.images)}, got {number}")
    store, key = storage_of(request), str(row.album_key)
    if not store.exists(key):
        raise Gone("expected the images in the file store, got nothing there: they were removed")
    return _Piece(store, key, index.offsets()[number], index.images[number].bytes)


class _Piece(Response):
    """A JPEG that is a part of a stored file; its URL always returns the same bytes."""

    def __init__(self, store: Storage, key: str, offset: int, size: int) -> None:
        guards = {"Cache-Control": "private, max-age=3600, immutable", "Content-Security-Policy": SANDBOX}
        super().__init__(b"", headers=guards, media_type="image/jpeg")
        self._store, self._key, self._offset, self._size = store, key, offset, size
        if (path := store.local(key)) is not None:
            with path.open("rb") as file:
                file.seek(offset)
                self._set(file.read(size))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the picture; read it first if the store is a bucket."""
        if not self.body:
            content = b""
            async with self._store.reader(self._key) as reader:
                await reader.seek(self._offset)
                while len(content) < self._size and (piece := await reader.read(self._size - len(content))):
                    content += piece
            self._set(content)
        await super().__call__(scope, receive, send)

    def _set(self, content: bytes) -> None:
        self.body = content
        self.headers["Content-Length"] = str(len(content))


def _name(names: list[str], label: int) -> str:
    return names[label] if label < len(names) else f"class {label}"
