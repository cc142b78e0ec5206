"""Requests to control an existing job."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rdrkd.spec import Labels, Moment, Name, Priority, TimeoutSeconds


class Change(BaseModel):
    """The fields to change; fields that are left out keep their values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name | None = Field(None, description="null: remove the name")
    labels: Labels = Field(default_factory=dict, description="replaces all labels")
    priority: Priority = Field(0, description="can be changed only while the job is queued or paused")
    timeout_seconds: TimeoutSeconds | None = Field(None, description="applies to later attempts; null: no limit")
    deadline: Moment | None = Field(None, description="applies at once; null: remove the deadline")


class Pause(BaseModel):
    """What to do with the current epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: Literal["save", "latest"] = Field(
        "save",
        description="`save`: finish it and keep it, which may take as long as an epoch; `latest`: stop now and discard "
        "it",
    )


class Retry(BaseModel):
    """Where the next attempt starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Literal["checkpoint", "scratch"] = Field(
        "checkpoint",
        alias="from",
        description="`checkpoint`: start from the newest intact checkpoint, if any; `scratch`: start over",
    )
