"""Datasets as the API shows them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.ownership import is_shared
from api.tables.datasets import Dataset
from api.tables.uploads import UploadStatus
from api.timestamps import Timestamp


class DatasetLinks(BaseModel):
    """URLs of related resources."""

    self: str
    versions: str = Field(description="all versions of its name")
    preview: str | None = Field(description="a JPEG of some of its images with their boxes; null: not available")
    images: str | None = Field(description="some of its images with their boxes; null: not available")


class DatasetView(BaseModel):
    """An uploaded dataset: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    id: str = Field(examples=["ds_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["dataset"] = "dataset"
    name: str | None
    version: int | None = Field(
        description="version within its name, from 1; jobs may refer to `name` or `name@version`"
    )
    same_content_as: str | None = Field(description="id of an earlier version with the same content")
    owner: str | None = Field(description="owner; null: the operator, or another owner who shares it")
    shared: bool = Field(description="whether it belongs to another owner, who shares it with you")
    filename: str = Field(description="file name from the client")
    status: UploadStatus
    source: str | None = Field(description="folder or bucket that it was imported from; null: uploaded")
    sha256: str | None = Field(description="null while a worker copies it from its source")
    size: int = Field(description="bytes; during a copy, the sum of the files")
    lenient: bool = Field(description="whether faulty parts are left out; the report lists them in `dropped`")
    keep: bool = Field(description="with `lenient`: whether images that lose a box stay")
    divide: str | None = Field(description="how a dataset without a split is divided; null: it has its own")
    format: str | None = Field(description="`yolo`, `coco`, `visdrone` or `voc`, by its check; null before it")
    problems: list[dict[str, str]] = Field(description="if invalid: each problem, with its location in the archive")
    report: dict[str, Any] | None = Field(description="findings of the check: class names, statistics by split")
    created_at: Timestamp
    checked_at: Timestamp | None
    links: DatasetLinks

    @classmethod
    def of(cls, row: Dataset) -> Self:
        """Build the view of a row."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        if shared := is_shared(row):
            shown |= {"owner": None, "source": None, "same_content_as": None}
            if row.source is not None and row.sha256 is None and row.problems:  # they name the folder or bucket
                shown["problems"] = [{"where": "", "detail": "its owner's import failed"}]
        address = f"/v1/datasets/{row.id}"
        preview = f"{address}/preview" if row.preview_key is not None else None
        images = f"{address}/images" if row.album_key is not None else None
        links = DatasetLinks(self=address, versions=f"{address}/versions", preview=preview, images=images)
        return cls(**shown, shared=shared, format=(row.report or {}).get("format"), links=links)
