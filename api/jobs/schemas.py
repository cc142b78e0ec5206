"""Jobs as the API shows them."""

from datetime import datetime
from functools import cache
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.jobs.states import Status
from api.jobs.tables import Job
from rdrkd.events import Phase
from rdrkd.reasons import Reason


class JobLinks(BaseModel):
    """Where to go from here."""

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
    weights: str
    artifacts: str


class Waiting(BaseModel):
    """One thing that a queued job waits for."""

    what: Literal["dataset", "model", "job", "quota", "worker"]
    id: str | None = Field(None, description="of the dataset, model or job")
    status: str | None = Field(None, description="where that is now")
    position: int | None = Field(
        None,
        description="of a job that waits for a worker: its place in the queue, 1-based; 1001: behind 1000 jobs or more",
    )
    detail: str


class JobProgress(BaseModel):
    """How far the present phase is."""

    completed: int = 0
    total: int | None = None
    unit: str = "batch"


class JobView(BaseModel):
    """A job. All AP and mAP figures are in percent."""

    id: str = Field(examples=["job_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["job"] = "job"
    kind: Literal["distill", "train", "evaluate", "export", "compare"]
    name: str | None
    owner: str | None = Field(description="whose it is; null: the operator's")
    labels: dict[str, str]
    status: Status
    waiting_for: list[Waiting] = Field(description="what keeps a queued job from starting")
    phase: Phase | None = Field(description="what the trainer does")
    progress: JobProgress | None
    epoch: int | None = Field(description="epoch being trained, 1-based")
    epochs: int | None
    eta_seconds: float | None = Field(description="estimate to the end of the whole run")
    metrics: dict[str, float | None] | None = Field(description="of the last epoch's validation, percent")
    attempt: int = Field(description="how often a worker has taken the job")
    lost_workers: int = Field(description="how many of these workers were lost")
    worker: str | None = Field(description="who has it, or had it last")
    reason: Reason | None = Field(description="why it ended otherwise than by success")
    message: str | None
    problems: list[dict[str, str]] = Field(description="the inputs at fault: where, and what is wrong")
    priority: int
    timeout_seconds: int
    deadline: datetime | None = Field(description="moment by which it must have ended")
    continues: str | None = Field(description="the job with whose checkpoints this one has begun")
    spec: dict[str, Any] = Field(description="what was asked")
    resolved_spec: dict[str, Any] | None = Field(description="every default filled in, versions, hashes, seed")
    result: dict[str, Any] | None
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: JobLinks

    @classmethod
    def of(cls, row: Job, waiting_for: list[Waiting], **more: Any) -> Self:
        """Show a row, and what `more` a wider view has."""
        shown = {field: getattr(row, field) for field in _columns(cls)}
        progress = row.progress or {}
        return cls.model_validate(
            shown
            | {field: progress.get(field) for field in ("epoch", "epochs", "eta_seconds")}
            | {
                "labels": row.spec.get("labels", {}),
                "waiting_for": waiting_for,
                "progress": {k: progress[k] for k in ("completed", "total", "unit") if k in progress} or None,
                "links": links(row.id),
            }
            | more
        )


@cache
def _columns(view: type[JobView]) -> tuple[str, ...]:
    return tuple(field for field in view.model_fields if hasattr(Job, field))


class JobWarningView(BaseModel):
    """Something that a person should look at; the run went on."""

    model_config = ConfigDict(from_attributes=True)

    code: str = Field(examples=["term_weak"])
    message: str
    count: int = Field(description="how often it came in this attempt")
    attempt: int
    epoch: int | None = Field(description="in which it first came, 1-based; null outside the epochs")
    at: datetime = Field(description="when it first came")


class EarlierEnd(BaseModel):
    """How a job ended before its owner let it go on."""

    attempt: int
    status: Status
    reason: Reason | None
    message: str | None
    problems: list[dict[str, str]]
    lost_workers: int
    finished_at: datetime


class JobDetail(JobView):
    """A job by itself: with its warnings, which would make a page of jobs long and slow."""

    earlier: list[EarlierEnd] = Field(description="how it ended before each `retry`, oldest first; the newest 50")
    warnings: list[JobWarningView] = Field(description="of the trainer, all attempts, oldest first; 201 at most")


def links(job_id: str) -> JobLinks:
    """Give a job's addresses."""
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
        weights=f"{base}/weights",
        artifacts=f"{base}/artifacts",
    )
