"""Artifacts as the API shows them."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, Field

from api.jobs.places import Placed
from api.storage.media import media_type
from api.tables.jobs import Artifact
from api.timestamps import Timestamp
from rdrkd.epochs import place_in


class ArtifactView(Placed):
    """The newest version of a file that a job has published."""

    name: str = Field(examples=["report.html"])
    epoch: int = Field(description="epoch of its checkpoint, counted through both trainings; 0: it belongs to none")
    attempt: int = Field(description="attempt of the job that wrote it")
    size: int = Field(description="bytes")
    sha256: str = Field(description="also its ETag")
    media_type: str
    created_at: Timestamp
    link: str

    @classmethod
    def of(cls, row: Artifact, spec: Mapping[str, Any]) -> Self:
        """Build the view of a row of a job with this spec."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        link = f"/v1/jobs/{row.job_id}/artifacts/{row.name}"
        placed = place_in(spec, row.epoch, row.name)._asdict()
        return cls(**shown, **placed, media_type=media_type(row.name), link=link)


class Artifacts(BaseModel):
    """The files of a job, by name."""

    data: list[ArtifactView]
