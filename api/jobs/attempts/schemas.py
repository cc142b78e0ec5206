"""Attempts and checkpoints as the API shows them."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from api.jobs.attempts.service import Kept, Outcome
from api.jobs.places import Placed
from api.timestamps import Timestamp
from rdrkd.epochs import place_in


class AttemptView(BaseModel):
    """One run of a worker on a job."""

    model_config = ConfigDict(from_attributes=True)

    attempt: int = Field(description="1, 2, ...")
    worker: str
    started_at: Timestamp
    ended_at: Timestamp | None = Field(description="null while the attempt is running")
    outcome: Outcome | None = Field(
        description="`succeeded`, `failed`, `cancelled`: the job's end; `given_back`, `lost`: another attempt follows, "
        "or the job has ended without this one"
    )
    reason: str | None = Field(
        description="the job's `reason`; `drain` or `outage` if the worker gave it back; `worker_lost`",
        examples=["drain"],
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


class CheckpointView(Placed):
    """A stored checkpoint: the next attempt resumes from the newest one that is intact."""

    epoch: int = Field(description="epoch that had just finished, 1-based, counted through both trainings")
    attempt: int
    is_best: bool = Field(description="whether it is the job's best checkpoint so far")
    is_last: bool
    metrics: dict[str, float | None] = Field(description="validation metrics of its epoch, percent")
    files: list[CheckpointFile] = Field(description="`student.pt` contains the best weights up to this epoch")
    created_at: Timestamp

    @classmethod
    def of(cls, kept: Kept, spec: Mapping[str, Any]) -> Self:
        """Build the view of a checkpoint of a job with this spec."""
        return cls(
            **{field: getattr(kept.row, field) for field in ("epoch", "attempt", "metrics", "created_at")},
            **place_in(spec, kept.row.epoch)._asdict(),
            files=[CheckpointFile.model_validate(file) for file in kept.files],
            is_best=kept.is_best,
            is_last=kept.is_last,
        )


class Checkpoints(BaseModel):
    """The checkpoints of a job, newest first, as far as the retention keeps them."""

    data: list[CheckpointView]
