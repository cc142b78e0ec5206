"""Datasets as the API shows them."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.datasets.tables import Dataset
from api.uploads import UploadStatus


class DatasetLinks(BaseModel):
    """Where to go from here."""

    self: str
    versions: str = Field(description="all that was uploaded under its name")
    preview: str | None = Field(description="a picture of some of its images with their boxes; null: there is none")


class DatasetView(BaseModel):
    """An uploaded dataset: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    id: str = Field(examples=["ds_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["dataset"] = "dataset"
    name: str | None
    version: int | None = Field(description="of its name, from 1; a job may say `name` or `name@version`")
    same_content_as: str | None = Field(description="id of an earlier version of the same content")
    owner: str | None = Field(description="whose it is; null: the operator's")
    filename: str = Field(description="as the client called it")
    status: UploadStatus
    source: str | None = Field(description="the folder or bucket that it is taken from; null: it was uploaded")
    sha256: str | None = Field(description="null: a worker is still copying it from its source")
    size: int = Field(description="bytes; of what is still being copied, of the files by themselves")
    lenient: bool = Field(description="what is at fault is left out, and listed in the report's `dropped`")
    keep: bool = Field(description="with `lenient`: images that lose one of their boxes stay")
    divide: str | None = Field(description="how it is divided, for it comes without a split; null: it has one")
    format: str | None = Field(description="`yolo`, `coco`, `visdrone` or `voc`, by its check; null before it")
    problems: list[dict[str, str]] = Field(description="when invalid: where in the archive, and what is wrong")
    report: dict[str, Any] | None = Field(description="what was found: class names, statistics by split")
    created_at: datetime
    checked_at: datetime | None
    links: DatasetLinks

    @classmethod
    def of(cls, row: Dataset) -> Self:
        """Show a row."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        address = f"/v1/datasets/{row.id}"
        preview = f"{address}/preview" if row.preview_key is not None else None
        links = DatasetLinks(self=address, versions=f"{address}/versions", preview=preview)
        return cls(**shown, format=(row.report or {}).get("format"), links=links)
