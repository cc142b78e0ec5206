"""Models as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.models.service import own
from api.models.tables import Model
from api.uploads import UploadStatus
from rdrkd.spec import ALIAS, Name

Alias = Annotated[str, StringConstraints(pattern=ALIAS)]


class Registration(BaseModel):
    """What a job's student is to be called."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = Field(None, description="its versions are numbered by it; by default the job's own")
    aliases: list[Alias] = Field([], max_length=16, description="that mean this version from here on")


class ModelFileView(BaseModel):
    """The model in one format."""

    format: str = Field(examples=["safetensors"])
    size: int = Field(description="bytes")
    sha256: str
    link: str


class ModelLinks(BaseModel):
    """Where to go from here."""

    self: str
    weights: str


class ModelView(BaseModel):
    """A model: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    id: str = Field(examples=["mdl_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["model"] = "model"
    name: str | None
    version: int | None = Field(description="among the owner's models of this name; null without a name")
    aliases: list[str] = Field(description="of its name, that mean this version now")
    owner: str | None = Field(description="whose it is; null: the operator's")
    filename: str = Field(description="as the client called it")
    status: UploadStatus
    sha256: str
    size: int = Field(description="bytes")
    problems: list[dict[str, str]] = Field(description="when invalid: which part of the file, and what is wrong")
    report: dict[str, Any] | None = Field(description="what was found: architecture, class names, parameters")
    lineage: dict[str, Any] | None = Field(
        description="of a student that was registered: job, dataset and its hash, teacher, resolved spec, metrics"
    )
    files: list[ModelFileView] = Field(description="the formats in which it can be had; empty until it is ready")
    created_at: datetime
    checked_at: datetime | None
    links: ModelLinks

    @classmethod
    def of(cls, row: Model) -> Self:
        """Show a row."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        weights = f"/v1/models/{row.id}/weights"
        files = [
            ModelFileView(
                format=file.format, size=file.size, sha256=file.sha256, link=f"{weights}?format={file.format}"
            )
            for file in ([own(row), *row.files] if row.status == UploadStatus.READY else [])
        ]
        return cls(
            **shown | {"aliases": [alias.alias for alias in row.aliases], "files": files},
            links=ModelLinks(self=f"/v1/models/{row.id}", weights=weights),
        )
