"""What the owner asks of a job that is there."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Retry(BaseModel):
    """Where the next attempt begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Literal["checkpoint", "scratch"] = Field(
        "checkpoint",
        alias="from",
        description="`checkpoint`: the newest undamaged one, if there is any; `scratch`: the beginning",
    )
