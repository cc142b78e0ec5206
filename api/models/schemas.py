"""Models as the API shows them."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.models.tables import Model
from api.uploads import UploadStatus


class ModelLinks(BaseModel):
    """Where to go from here."""

    self: str


class ModelView(BaseModel):
    """An uploaded model: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    id: str = Field(examples=["mdl_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["model"] = "model"
    name: str | None
    owner: str | None = Field(description="whose it is; null: the operator's")
    filename: str = Field(description="as the client called it")
    status: UploadStatus
    sha256: str
    size: int = Field(description="bytes")
    problems: list[dict[str, str]] = Field(description="when invalid: which part of the file, and what is wrong")
    report: dict[str, Any] | None = Field(description="what was found: architecture, class names, parameters")
    created_at: datetime
    checked_at: datetime | None
    links: ModelLinks

    @classmethod
    def of(cls, row: Model) -> Self:
        """Show a row."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        return cls(**shown, links=ModelLinks(self=f"/v1/models/{row.id}"))
