"""What the owner asks of a job that is there."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
