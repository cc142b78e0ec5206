"""The events of a run: what the trainer writes, one JSON object a line, and what the worker reads.

No torch here: the worker imports this module.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from rdrkd.reasons import Reason

Phase = Literal["preparing", "training", "evaluating", "exporting"]


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Resolved(_Event):
    """The spec with every default filled in, package versions, dataset hash and teacher sha256."""

    event: Literal["resolved"] = "resolved"
    resolved_spec: dict[str, Any]


class Progress(_Event):
    """How far the phase is; `eta_seconds` is the estimate to the end of the whole run."""

    event: Literal["progress"] = "progress"
    phase: Phase
    completed: int = 0
    total: int | None = None
    unit: Literal["batch", "image", "file"] = "batch"
    epoch: int | None = Field(None, description="1-based epoch being trained")
    epochs: int | None = None
    eta_seconds: float | None = None


class Epoch(_Event):
    """One finished epoch: each loss term unweighted, its weighted share, lr, and AP figures in percent."""

    event: Literal["epoch"] = "epoch"
    epoch: int = Field(description="1-based")
    epochs: int
    losses: dict[str, float] = Field(description="term name -> mean over the epoch, unweighted")
    weights: dict[str, float] = Field(default_factory=dict, description="term name -> its weight in Eq. 11's sum")
    diagnostics: dict[str, float] = Field(
        default_factory=dict, description="gradient norms and masked shares, by `<term>/<figure>`"
    )
    lr: float
    metrics: dict[str, float] = Field(
        default_factory=dict, description="Ultralytics' own validation, percent: mAP50_95, mAP50, precision, recall"
    )
    seconds: float
    processor_seconds: float | None = Field(
        None, description="of a training on the CPU: processor time, all threads, which other work leaves nearly alone"
    )


class Calibrated(_Event):
    """The weights that calibration has chosen; the resolved spec holds them from here on."""

    event: Literal["calibrated"] = "calibrated"
    weights: dict[str, float] = Field(description="term name -> its weight in Eq. 11's sum")
    measured: int = Field(description="steps whose gradients were measured")


class Checkpoint(_Event):
    """A checkpoint that is complete on disk: `folder` (relative to the run folder) holds `files`."""

    event: Literal["checkpoint"] = "checkpoint"
    epoch: int
    folder: str
    files: list[str]
    is_best: bool
    metrics: dict[str, float] = Field(default_factory=dict)


class Warn(_Event):
    """Something a person should look at; the run goes on."""

    event: Literal["warning"] = "warning"
    code: str
    message: str
    epoch: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="1-based epoch in which it was found; null before and after the training",
    )


class Done(_Event):
    """The run succeeded; `result` is the content of `result.json`."""

    event: Literal["done"] = "done"
    result: dict[str, Any]


class Failed(_Event):
    """The run ended with an error: reason, one sentence, and the inputs at fault."""

    event: Literal["failed"] = "failed"
    reason: Reason
    message: str
    problems: list[dict[str, str]] = Field(default_factory=list, description="{where, detail}")


class Stopped(_Event):
    """The run stopped because it was asked to; the newest checkpoint stands."""

    event: Literal["stopped"] = "stopped"
    epoch: int | None = None


Event = Annotated[
    Resolved | Progress | Epoch | Calibrated | Checkpoint | Warn | Done | Failed | Stopped, Field(discriminator="event")
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)

# Exit statuses of the trainer process.
EXIT_DONE = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_FAILED = 3  # a `failed` event with its reason was written
EXIT_STOPPED = 75  # asked to stop; run the same command again to go on


def parse(line: str | bytes) -> Event:
    """Read one line as an event.

    Raises:
        pydantic.ValidationError: the line is no event.

    >>> parse('{"event": "stopped", "epoch": 3}')
    Stopped(event='stopped', epoch=3)
    """
    return _ADAPTER.validate_json(line)
