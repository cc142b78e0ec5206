"""The service's responses, as types. Fields that a newer service adds are kept, and accessible as attributes."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from rdrkd.epochs import Part

ENDED = frozenset({"succeeded", "failed", "cancelled"})


class _View(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Job(_View):
    """A job; AP and mAP figures are in percent."""

    id: str
    kind: str
    name: str | None
    status: str
    phase: str | None
    epoch: int | None
    epochs: int | None
    eta_seconds: float | None
    part: Part | None = None  # whose training; the epoch is its `part_epoch` of `part_epochs`
    part_epoch: int | None = None
    part_epochs: int | None = None
    metrics: dict[str, float | None] | None  # of the student's latest epoch
    metrics_alone: dict[str, float | None] | None = None  # with `baseline`: of the student alone
    reason: str | None
    message: str | None
    waiting_for: list[dict[str, Any]]
    spec: dict[str, Any]
    result: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Return whether the job has ended."""
        return self.status in ENDED

    @property
    def comparison(self) -> dict[str, Any] | None:
        """Return teacher, student alone and student side by side; None before the end, or for other kinds of jobs."""
        found: dict[str, Any] | None = (self.result or {}).get("comparison")
        return found


class _Upload(_View):
    id: str
    name: str | None
    filename: str
    status: str  # checking, ready, invalid
    size: int
    problems: list[dict[str, str]]
    report: dict[str, Any] | None
    shared: bool = False  # whether it belongs to another owner, who shares it with the caller
    created_at: datetime

    @property
    def ended(self) -> bool:
        """Return whether its check has ended."""
        return self.status != "checking"


class Dataset(_Upload):
    """An uploaded dataset; `version` is its number under its name."""

    sha256: str | None  # None: it is still being copied from its source
    source: str | None = None  # folder or bucket that it was imported from
    version: int | None = None
    same_content_as: str | None = None
    lenient: bool = False
    keep: bool = False
    divide: str | None = None
    format: str | None = None  # yolo, coco, visdrone; None before its check


class Model(_Upload):
    """A model: uploaded, or a job's student that was registered."""

    sha256: str
    version: int | None = None  # version within its name
    aliases: list[str] = []  # aliases that refer to this version
    lineage: dict[str, Any] | None = None  # for a registered student: job, dataset, teacher, spec, metrics


class Artifact(_View):
    """A file that a job has published."""

    name: str
    epoch: int
    part: Part | None = None
    part_epoch: int | None = None
    part_epochs: int | None = None
    size: int
    sha256: str


class Study(_View):
    """A study: methods and the student alone, over seeds."""

    id: str
    name: str
    status: str
    created_at: datetime

    @property
    def ended(self) -> bool:
        """Return whether all its members have ended."""
        return self.status in ENDED


class Page(_View):
    """One page of a list, newest first."""

    data: list[dict[str, Any]]
    next: str | None = None
