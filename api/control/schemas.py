"""What the owner asks of a job that is there."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rdrkd.spec import Labels, Moment, Name, Priority, TimeoutSeconds


class Change(BaseModel):
    """What is to be another; what is left out stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name | None = Field(None, description="null: none any more")
    labels: Labels = Field(default_factory=dict, description="all of them: those of before go")
    priority: Priority = Field(0, description="only while the job is queued or paused")
    timeout_seconds: TimeoutSeconds = Field(86_400, description="counts for attempts that begin afterwards")
    deadline: Moment | None = Field(None, description="counts at once; null: none any more")


class Pause(BaseModel):
    """What becomes of the epoch that is being trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: Literal["save", "latest"] = Field(
        "save",
        description="`save`: finish it and keep it, which may take as long as an epoch; `latest`: stop now and lose it",
    )


class Retry(BaseModel):
    """Where the next attempt begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Literal["checkpoint", "scratch"] = Field(
        "checkpoint",
        alias="from",
        description="`checkpoint`: the newest undamaged one, if there is any; `scratch`: the beginning",
    )
