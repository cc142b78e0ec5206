"""Attempts and checkpoints as the API shows them."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from api.attempts.service import Kept, Outcome


class AttemptView(BaseModel):
    """One run of a worker on a job."""

    model_config = ConfigDict(from_attributes=True)

    attempt: int = Field(description="1, 2, ...")
    worker: str
    started_at: datetime
    ended_at: datetime | None = Field(description="null while it goes on")
    outcome: Outcome | None = Field(
        description="`succeeded`, `failed`, `cancelled`: the job's end; `given_back`, `lost`: another attempt follows, "
        "or the job has ended without this one"
    )
    reason: str | None = Field(
        description="a job's `reason`; `drain` or `outage` where it was given back; `worker_lost`", examples=["drain"]
    )
    message: str | None


class Attempts(BaseModel):
    """Every attempt of a job, in order."""

    data: list[AttemptView]


class CheckpointFile(BaseModel):
    """A file of a checkpoint."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(examples=["student.pt"])
    size: int = Field(description="bytes")
    sha256: str


class CheckpointView(BaseModel):
    """A checkpoint that is in the storage: from the newest one that verifies another attempt goes on."""

    epoch: int = Field(description="1-based, trained when it was written")
    attempt: int
    is_best: bool = Field(description="the best of all that the job has written by now")
    is_last: bool
    metrics: dict[str, float | None] = Field(description="of its epoch's validation, percent")
    files: list[CheckpointFile] = Field(description="`student.pt` holds the best weights until then")
    created_at: datetime

    @classmethod
    def of(cls, kept: Kept) -> Self:
        """Show a checkpoint."""
        return cls(
            **{field: getattr(kept.row, field) for field in ("epoch", "attempt", "metrics", "created_at")},
            files=[CheckpointFile.model_validate(file) for file in kept.files],
            is_best=kept.is_best,
            is_last=kept.is_last,
        )


class Checkpoints(BaseModel):
    """The checkpoints of a job that are left, newest first: older ones make room for newer ones."""

    data: list[CheckpointView]
