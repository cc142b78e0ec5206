"""What is said of a spec that is not queued."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Finding(BaseModel):
    """Something that is known of a spec, or that is not."""

    level: Literal["error", "warning", "unknown"] = Field(
        description="`error`: the job would fail; `warning`: a person should look; `unknown`: it cannot be said yet"
    )
    pointer: str = Field(description="JSON pointer into the body", examples=["#/teacher"])
    detail: str


class Basis(BaseModel):
    """What an estimate is made of."""

    jobs: list[str] = Field(description="jobs that have succeeded with the same settings on the same device")
    epochs: int = Field(description="epochs of theirs whose seconds were taken; 0 for `evaluate` and `export`")
    device: str = Field(description="where they ran; on another one the figures are others")
    same: list[str] = Field(description="what they have in common with this spec")


class Estimate(BaseModel):
    """What the job would take, from earlier ones; nothing is guessed."""

    seconds: float | None = Field(description="at most, without preparing and without the last evaluation")
    seconds_per_epoch: float | None = Field(description="median")
    memory_bytes: int | None = Field(description="the most that one of them has used, of the device or of the process")
    basis: Basis | None
    reason: str | None = Field(description="why there is no estimate")


class Validation(BaseModel):
    """What a job of this spec would be. Nothing is queued."""

    object: Literal["validation"] = "validation"
    ok: bool = Field(description="nothing is known that would make it fail")
    findings: list[Finding]
    resolved_spec: dict[str, Any] = Field(description="every default filled in, a preset as its terms")
    estimate: Estimate
