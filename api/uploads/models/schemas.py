"""Models as the API shows them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.ownership import is_shared
from api.tables.models import Model
from api.tables.uploads import UploadStatus
from api.timestamps import Timestamp
from api.uploads.models.service import own
from rdrkd.spec import ALIAS, Name

Alias = Annotated[str, StringConstraints(pattern=ALIAS)]


class Registration(BaseModel):
    """The name and aliases of the registered model."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = Field(None, description="model name, whose versions are numbered; default: the job's name")
    aliases: list[Alias] = Field([], max_length=16, description="aliases to move to this version")


class ModelFileView(BaseModel):
    """A model file in one format."""

    format: str = Field(examples=["safetensors"])
    size: int = Field(description="bytes")
    sha256: str
    link: str


class ModelLinks(BaseModel):
    """URLs of related resources."""

    self: str
    weights: str


class ModelView(BaseModel):
    """A model: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    id: str = Field(examples=["mdl_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["model"] = "model"
    name: str | None
    version: int | None = Field(description="version among the owner's models of this name; null without a name")
    aliases: list[str] = Field(description="aliases that refer to this version")
    owner: str | None = Field(description="owner; null: the operator, or another owner who shares it")
    shared: bool = Field(description="whether it belongs to another owner, who shares it with you")
    filename: str = Field(description="file name from the client")
    status: UploadStatus
    sha256: str
    size: int = Field(description="bytes")
    problems: list[dict[str, str]] = Field(description="if invalid: each problem, with its location in the file")
    report: dict[str, Any] | None = Field(description="findings of the check: architecture, class names, parameters")
    lineage: dict[str, Any] | None = Field(
        description="for a registered student: job, dataset and its hash, teacher, resolved spec, metrics"
    )
    files: list[ModelFileView] = Field(description="formats that can be downloaded; empty until it is ready")
    created_at: Timestamp
    checked_at: Timestamp | None
    links: ModelLinks

    @classmethod
    def of(cls, row: Model) -> Self:
        """Build the view of a row."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        if shared := is_shared(row):
            shown |= {"owner": None, "lineage": None}
        weights = f"/v1/models/{row.id}/weights"
        files = [
            ModelFileView(
                format=file.format, size=file.size, sha256=file.sha256, link=f"{weights}?format={file.format}"
            )
            for file in ([own(row), *row.files] if row.status == UploadStatus.READY else [])
        ]
        return cls(
            **shown | {"aliases": [alias.alias for alias in row.aliases], "files": files, "shared": shared},
            links=ModelLinks(self=f"/v1/models/{row.id}", weights=weights),
        )
