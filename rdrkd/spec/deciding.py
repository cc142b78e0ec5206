"""The decision rule of a study: fixed before the first member runs, applied by the report."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Decide(BaseModel):
    """The rule: "go" if a method's gain is large enough and beyond chance, "no go" if that is ruled out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    metric: Literal["AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"] = Field("AP", description="metric that decides")
    least: float = Field(0.3, ge=0, le=100, description="smallest mean gain that counts, percentage points")
    interval: Literal["above 0"] = Field("above 0", description="required position of the gain's 95 % interval")
    method: str | None = Field(
        None, max_length=64, description="method to judge; default: rdr-kd, or the first method that distils"
    )
