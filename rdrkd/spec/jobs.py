"""The job spec: one model for the HTTP body, the database row, the file in the run folder and the command line."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from rdrkd.spec.exporting import NEEDS_GPU, ExportSettings
from rdrkd.spec.field_errors import Fault, refusal
from rdrkd.spec.presets import Distillation, Preset
from rdrkd.spec.references import STUDY_ID, TEXT, Architecture, DatasetRef, ModelRef, Pretrained, WeightsRef, layers_of
from rdrkd.spec.tagged import Tagged
from rdrkd.spec.training import EvaluationSettings, TrainSettings

LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=TEXT)]
LabelValue = Annotated[str, StringConstraints(max_length=512, pattern=TEXT)]


def _written(value: Any) -> Any:
    """Refuse numbers, also as text, which Pydantic would read as seconds or milliseconds since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and re.match(r"\d{4}-", value)):
        return value
    raise ValueError("expected a moment such as 2026-12-01T18:00:00Z")


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a moment in the years 1 to 9999 of UTC") from error


# Bounds of the fields that a job's owner may also change later.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=TEXT)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=16)]
Priority = Annotated[int, Field(ge=-100, le=100)]
TimeoutSeconds = Annotated[int, Field(ge=1, le=2_592_000)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]


class _Job(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Name | None = Field(None, description="display name")
    dataset: DatasetRef
    labels: Labels = Field(default_factory=dict, description="free key-value pairs")
    priority: Priority = Field(0, description="jobs with a higher priority run earlier")
    timeout_seconds: TimeoutSeconds | None = Field(
        None, description="longest wall time of an attempt, seconds; null: no limit; service only"
    )
    deadline: Moment | None = Field(
        None,
        description="time by which the job must have ended, RFC 3339 with an offset; service only",
    )


def _frozen(student: ModelRef, train: TrainSettings) -> list[Fault]:
    """Return the fault of a spec that freezes a whole architecture; other models are checked when they are opened."""
    layers = layers_of(student.architecture) if isinstance(student, Architecture | Pretrained) else None
    detail = None if layers is None else train.freezes_all(layers)
    return [] if detail is None else [Fault(("train", "freeze"), detail, train.freeze)]


class Distill(_Job):
    """Train a student under a teacher."""

    kind: Literal["distill"]
    teacher: WeightsRef
    student: ModelRef
    distillation: Distillation = Field(default_factory=lambda: Distillation(preset=Preset.RDR_KD))
    train: TrainSettings = Field(default_factory=TrainSettings)
    baseline: bool = Field(
        False,
        description="train the same student alone afterwards, with the same seed, data order and settings, and compare",
    )

    @model_validator(mode="after")
    def _trains_something(self) -> Self:
        faults = [*self.distillation.never_on(self.train.epochs), *_frozen(self.student, self.train)]
        if self.baseline and not self.distillation.recipe.terms:
            faults.append(Fault(("baseline",), "expected a distillation to compare with, got the preset none", True))
        if faults:
            raise refusal(faults)
        return self

    @property
    def all_epochs(self) -> int:
        """Number of epochs of the student, plus those of the baseline if there is one."""
        return self.train.epochs * (2 if self.baseline else 1)

    @property
    def short_schedule(self) -> str | None:
        """Return why the terms never reach their full weight; None if they do, or if there are none."""
        schedule, epochs = self.distillation.recipe.schedule, self.train.epochs
        warmup, stop = schedule.warmup_epochs, schedule.stop_epochs
        if not self.distillation.recipe.terms or not warmup or warmup + stop < epochs:
            return None
        return (
            f"distillation.schedule: expected warmup_epochs and stop_epochs to leave some of the {epochs} epochs of "
            f"train, got {warmup:g} and {stop:g}: the terms stay below {(epochs - stop) / warmup:.0%} of their weight"
        )


class Train(_Job):
    """Train one model alone: a teacher, or the student without a teacher."""

    kind: Literal["train"]
    model: ModelRef
    train: TrainSettings = Field(default_factory=TrainSettings)

    @model_validator(mode="after")
    def _trains_something(self) -> Self:
        if faults := _frozen(self.model, self.train):
            raise refusal(faults)
        return self


class Evaluate(_Job):
    """Evaluate weights by the COCO protocol and by Ultralytics' own metric."""

    kind: Literal["evaluate"]
    model: WeightsRef
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)


class Export(_Job):
    """Export weights to another format, and check the exported network against torch on the dataset's images."""

    kind: Literal["export"]
    model: WeightsRef
    export: ExportSettings


class Compare(_Job):
    """Draw the report of a study from the files of its jobs; queued by the service, not accepted from clients."""

    kind: Literal["compare"]
    study: str = Field(pattern=STUDY_ID, description="id of the study")
    jobs: tuple[str, ...] = Field(description="jobs of the succeeded members that the report covers")


JobSpec = Annotated[Distill | Train | Evaluate | Export, Tagged("kind")]
JOB_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
# Every kind of run.
RunSpec = Annotated[Distill | Train | Evaluate | Export | Compare, Tagged("kind")]
RUN_SPEC: TypeAdapter[RunSpec] = TypeAdapter(RunSpec)


def needs_gpu(spec: RunSpec) -> bool:
    """Return whether a run requires a GPU."""
    return isinstance(spec, Export) and spec.export.format in NEEDS_GPU
