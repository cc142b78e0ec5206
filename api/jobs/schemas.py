"""Jobs as the API shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.jobs.places import Placed
from api.tables.jobs import WITH_WEIGHTS, Job, JobWarning
from api.tables.states import Status
from api.timestamps import Timestamp
from rdrkd.epochs import ALONE, place_in
from rdrkd.events import Phase
from rdrkd.reasons import Reason


class JobLinks(BaseModel):
    """URLs of related resources."""

    self: str
    cancel: str
    pause: str
    resume: str
    retry: str
    events: str
    attempts: str
    checkpoints: str
    logs: str
    metrics: str
    weights: str | None = Field(description="null for kinds that produce no weights")
    artifacts: str


class Waiting(BaseModel):
    """Something that a queued job waits for."""

    what: Literal["dataset", "model", "job", "quota", "worker"]
    id: str | None = Field(None, description="id of the dataset, model or job")
    status: str | None = Field(None, description="its status")
    position: int | None = Field(
        None,
        description="for a job that waits for a worker: place in the queue, 1-based; 1001: behind 1000 jobs or more",
    )
    detail: str


class JobProgress(BaseModel):
    """Progress of the current phase."""

    completed: int = 0
    total: int | None = None
    unit: str = "batch"


class JobView(Placed):
    """A job. All AP and mAP figures are in percent."""

    id: str = Field(examples=["job_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["job"] = "job"
    kind: Literal["distill", "train", "evaluate", "export", "compare"]
    name: str | None
    owner: str | None = Field(description="owner; null: the operator")
    labels: dict[str, str]
    status: Status
    waiting_for: list[Waiting] = Field(description="what a queued job waits for")
    phase: Phase | None = Field(description="what the trainer is doing")
    progress: JobProgress | None
    epoch: int | None = Field(
        description="epoch being trained, 1-based; with `baseline`, those of the student alone follow the student's"
    )
    epochs: int | None = Field(description="total number of epochs, of both trainings")
    eta_seconds: float | None = Field(description="estimated time to the end of the run, seconds")
    metrics: dict[str, float | None] | None = Field(
        description="validation metrics of the student's latest epoch, percent"
    )
    metrics_alone: dict[str, float | None] | None = Field(
        description="with `baseline`, those of the latest epoch of the student alone; null before its first"
    )
    attempt: int = Field(description="number of attempts so far")
    lost_workers: int = Field(description="number of attempts that lost their worker")
    worker: str | None = Field(description="worker that runs it, or ran it last")
    reason: Reason | None = Field(description="why it did not succeed")
    message: str | None
    problems: list[dict[str, str]] = Field(description="problems with the inputs, each with its location")
    priority: int
    timeout_seconds: int | None = Field(description="longest wall time of an attempt; null: no limit")
    deadline: datetime | None = Field(description="time by which it must have ended")
    continues: str | None = Field(description="job whose checkpoints this one started from")
    spec: dict[str, Any] = Field(description="spec as submitted")
    resolved_spec: dict[str, Any] | None = Field(
        description="spec with every default filled in, versions, hashes and seed"
    )
    result: dict[str, Any] | None = Field(
        description="content of `result.json`; of a training with `verdict`, which begins with its grave warnings; of "
        "a distillation with `comparison`: `teacher`, `alone` and `student` side by side"
    )
    created_at: Timestamp
    queued_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    links: JobLinks

    @classmethod
    def of(cls, row: Job, waiting_for: list[Waiting], **more: Any) -> Self:
        """Build the view of a row, with `more` fields of a wider view."""
        shown = {field: getattr(row, field) for field in _columns(cls)}
        progress, metrics = row.progress or {}, dict(row.metrics or {})
        return cls.model_validate(
            shown
            | {field: progress.get(field) for field in ("epoch", "epochs")}
            | place_in(row.spec, progress.get("epoch"))._asdict()
            | {"metrics_alone": metrics.pop(ALONE, None), "metrics": metrics or None}
            # The end of a job that is being paused or cancelled cannot be estimated.
            | {"eta_seconds": progress.get("eta_seconds") if row.status == Status.RUNNING else None}
            | {
                "timeout_seconds": row.timeout_seconds or None,
                "labels": row.spec.get("labels", {}),
                "waiting_for": waiting_for,
                "progress": {k: progress[k] for k in ("completed", "total", "unit") if k in progress} or None,
                "links": links(row.id, row.kind),
            }
            | more
        )


@cache
def _columns(view: type[JobView]) -> tuple[str, ...]:
    return tuple(field for field in view.model_fields if hasattr(Job, field))


class JobWarningView(Placed):
    """A warning of the trainer; the run continued."""

    code: str = Field(examples=["term_weak"])
    message: str
    count: int = Field(description="number of occurrences in this attempt")
    attempt: int
    epoch: int | None = Field(description="epoch of the first occurrence, 1-based; null outside epochs")
    at: Timestamp = Field(description="time of the first occurrence")

    @classmethod
    def of(cls, row: JobWarning, spec: Mapping[str, Any]) -> Self:
        """Build the view of a row of a job with this spec."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        return cls(**shown, **place_in(spec, row.epoch)._asdict())


class EarlierEnd(BaseModel):
    """How a job had ended before it was retried."""

    attempt: int
    status: Status
    reason: Reason | None
    message: str | None
    problems: list[dict[str, str]]
    lost_workers: int
    finished_at: Timestamp


class JobDetail(JobView):
    """A single job, with its warnings, which lists of jobs leave out."""

    earlier: list[EarlierEnd] = Field(
        description="how it had ended before each `retry`, oldest first; at most the newest 50"
    )
    warnings: list[JobWarningView] = Field(
        description="the trainer's warnings in all attempts, oldest first; at most 201"
    )

    @classmethod
    def of(cls, row: Job, waiting_for: list[Waiting], warnings: Sequence[JobWarning] = (), **more: Any) -> Self:
        """Build the view of a row and its warnings."""
        warned = [JobWarningView.of(warning, row.spec) for warning in warnings]
        return super().of(row, waiting_for, warnings=warned, **more)


def links(job_id: str, kind: str) -> JobLinks:
    """Return a job's URLs."""
    base = f"/v1/jobs/{job_id}"
    return JobLinks(
        self=base,
        cancel=f"{base}/cancel",
        pause=f"{base}/pause",
        resume=f"{base}/resume",
        retry=f"{base}/retry",
        events=f"{base}/events",
        attempts=f"{base}/attempts",
        checkpoints=f"{base}/checkpoints",
        logs=f"{base}/logs",
        metrics=f"{base}/metrics",
        weights=f"{base}/weights" if kind in WITH_WEIGHTS else None,
        artifacts=f"{base}/artifacts",
    )
