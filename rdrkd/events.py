"""The events of a run: what the trainer writes, one JSON object a line, and what the worker reads.

No torch here: the worker imports this module.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rdrkd.epochs import Part
from rdrkd.reasons import Reason

MOST_EPOCHS = 20_000  # of a student, and as many of the same one alone
LONGEST_PROSE = 10_000  # characters of a message; the rest is cut off
MOST_PROBLEMS = 100  # of a failed run; further ones are left out


def _finite(content: dict[str, Any]) -> dict[str, Any]:
    """Reject numbers that JSON does not have, wherever they are.

    Raises:
        ValueError: there is one.
    """
    pending: list[Any] = [content]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"expected finite numbers, got {value}")
    return content


def _cut(text: str) -> str:
    return text[:LONGEST_PROSE]


def _first(problems: list[dict[str, str]]) -> list[dict[str, str]]:
    return problems[:MOST_PROBLEMS]


Number = Annotated[int, Field(ge=0, le=2**53)]
EpochNumber = Annotated[int, Field(ge=0, le=MOST_EPOCHS)]
Name = Annotated[str, Field(max_length=200)]
Figures = Annotated[dict[Name, float], Field(max_length=10_000)]
Prose = Annotated[str, AfterValidator(_cut)]
Content = Annotated[dict[str, Any], AfterValidator(_finite)]
Phase = Literal["preparing", "training", "training_alone", "evaluating", "exporting"]


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Resolved(_Event):
    """The spec with every default filled in, package versions, dataset hash and teacher sha256."""

    event: Literal["resolved"] = "resolved"
    resolved_spec: Content


class Progress(_Event):
    """How far the phase is; `eta_seconds` is the estimate to the end of the whole run."""

    event: Literal["progress"] = "progress"
    phase: Phase
    completed: Number = 0
    total: Number | None = None
    unit: Literal["batch", "image", "file"] = "batch"
    epoch: EpochNumber | None = Field(None, description="1-based epoch being trained")
    epochs: EpochNumber | None = None
    eta_seconds: float | None = None


class Epoch(_Event):
    """One finished epoch: each loss term unweighted, its weighted share, lr, and AP figures in percent."""

    event: Literal["epoch"] = "epoch"
    part: Part = Field(
        "student", description="whose epoch: `alone` is the student without its teacher, whose epochs follow"
    )
    epoch: EpochNumber = Field(description="1-based, numbered through all parts of the run")
    epochs: EpochNumber = Field(description="of all parts together")
    losses: Figures = Field(description="term name -> mean over the epoch, unweighted")
    weights: Figures = Field(default_factory=dict, description="term name -> its weight in Eq. 11's sum")
    diagnostics: Figures = Field(
        default_factory=dict, description="gradient norms and masked shares, by `<term>/<figure>`"
    )
    lr: float
    metrics: Figures = Field(
        default_factory=dict, description="Ultralytics' own validation, percent: mAP50_95, mAP50, precision, recall"
    )
    seconds: float
    processor_seconds: float | None = Field(
        None, description="of a training on the CPU: processor time, all threads, which other work leaves nearly alone"
    )


class Calibrated(_Event):
    """The weights that calibration has chosen; the resolved spec holds them from here on."""

    event: Literal["calibrated"] = "calibrated"
    weights: Figures = Field(description="term name -> its weight in Eq. 11's sum")
    measured: Number = Field(description="steps whose gradients were measured")


class Checkpoint(_Event):
    """A checkpoint that is complete on disk: `folder` (relative to the run folder) holds `files`."""

    event: Literal["checkpoint"] = "checkpoint"
    epoch: EpochNumber
    folder: Name
    files: Annotated[list[Name], Field(max_length=1000)]
    is_best: bool
    metrics: Figures = Field(default_factory=dict)


class Warn(_Event):
    """A condition that a user should check; the run continues."""

    event: Literal["warning"] = "warning"
    code: Prose
    message: Prose
    epoch: int | None = Field(
        None,
        ge=1,
        le=MOST_EPOCHS,
        description="1-based epoch in which it was found; null before and after the training",
    )


class Done(_Event):
    """The run succeeded; `result` is the content of `result.json`."""

    event: Literal["done"] = "done"
    result: Content


class Failed(_Event):
    """The run ended with an error: reason, one sentence, and the inputs at fault."""

    event: Literal["failed"] = "failed"
    reason: Reason
    message: Prose
    problems: Annotated[list[dict[Name, Prose]], AfterValidator(_first)] = Field(
        default_factory=list, description="{where, detail}"
    )


class Stopped(_Event):
    """The run stopped because it was asked to; the newest checkpoint is kept."""

    event: Literal["stopped"] = "stopped"
    epoch: EpochNumber | None = None


Event = Annotated[
    Resolved | Progress | Epoch | Calibrated | Checkpoint | Warn | Done | Failed | Stopped, Field(discriminator="event")
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)

# Exit statuses of the trainer process.
EXIT_DONE = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_FAILED = 3  # a `failed` event with its reason was written
EXIT_STOPPED = 75  # stopped on request; run the same command again to resume


def parse(line: str | bytes) -> Event:
    """Read one line as an event.

    Raises:
        pydantic.ValidationError: the line is no event.

    >>> parse('{"event": "stopped", "epoch": 3}')
    Stopped(event='stopped', epoch=3)
    """
    return _ADAPTER.validate_json(line)


def at_fault(error: ValidationError) -> tuple[str, str] | None:
    """Return which event a line claims to be, and what is wrong with it; None for a line that claims to be none.

    >>> try:
    ...     parse('{"event": "stopped", "epoch": 1099511627776}')
    ... except ValidationError as error:
    ...     at_fault(error)
    ('stopped', '`epoch`: Input should be less than or equal to 20000, got 1099511627776')
    """
    first = error.errors(include_url=False)[0]
    if not first["loc"] or first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return None
    event, *field = map(str, first["loc"])
    return event, f"`{'.'.join(field)[:200]}`: {first['msg']}, got {first['input']!r:.100}"
