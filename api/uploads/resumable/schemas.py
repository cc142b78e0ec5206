"""Resumable uploads as the API shows them."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.tables.resumable import ResumableUpload
from api.timestamps import Timestamp
from api.uploads.resumable.service import result_of


class UploadLinks(BaseModel):
    """URLs of related resources."""

    self: str
    result: str | None = Field(description="the resulting dataset or model; null until complete")


class UploadView(BaseModel):
    """A resumable upload."""

    id: str = Field(examples=["upl_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["upload"] = "upload"
    kind: Literal["dataset", "model"]
    filename: str
    name: str | None
    lenient: bool
    keep: bool
    divide: str | None
    length: int = Field(description="size of the whole file, bytes")
    offset: int = Field(description="bytes received: where the next piece begins")
    sha256: str | None = Field(description="SHA-256 of the whole file, as announced")
    created_at: Timestamp
    links: UploadLinks

    @classmethod
    def of(cls, row: ResumableUpload, offset: int) -> Self:
        """Build the view of a row."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        return cls(**shown, offset=offset, links=UploadLinks(self=f"/v1/uploads/{row.id}", result=result_of(row)))
