"""The result of a validation as the API shows it."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Finding(BaseModel):
    """A finding about a spec, or what cannot be determined yet."""

    level: Literal["error", "warning", "advice", "unknown"] = Field(
        description="`error`: the job would fail; `warning`: worth a look; `advice`: another value suits the dataset "
        "better; `unknown`: cannot be determined yet"
    )
    pointer: str = Field(description="JSON pointer into the body", examples=["/teacher"])
    detail: str


class Basis(BaseModel):
    """What an estimate is based on."""

    jobs: list[str] = Field(description="ids of the succeeded jobs with the same settings on the same device")
    epochs: int = Field(description="number of their epochs that were timed; 0 for `evaluate` and `export`")
    device: str = Field(description="device on which they ran; times differ on other devices")
    same: list[str] = Field(description="settings that they share with this spec")


class Estimate(BaseModel):
    """Estimated time and memory of the job, from measurements of earlier jobs."""

    seconds: float | None = Field(description="upper bound, excluding preparation and the final evaluation")
    seconds_per_epoch: float | None = Field(description="median")
    memory_bytes: int | None = Field(description="peak memory of the largest of them, of the device or the process")
    basis: Basis | None
    reason: str | None = Field(description="why there is no estimate, if there is none")


class Validation(BaseModel):
    """The result of validating a spec; nothing is queued."""

    object: Literal["validation"] = "validation"
    ok: bool = Field(description="whether there are no findings of the level `error`")
    findings: list[Finding]
    resolved_spec: dict[str, Any] = Field(description="spec with every default filled in and the preset expanded")
    estimate: Estimate
