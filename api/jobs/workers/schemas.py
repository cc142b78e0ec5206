"""Workers and the queue as the API shows them."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.jobs.schemas import Waiting
from api.jobs.workers.service import Present
from api.tables.jobs import Job
from api.tables.states import Status
from api.timestamps import Timestamp


class Device(BaseModel):
    """A GPU that a worker may use."""

    name: str = Field(examples=["NVIDIA H100 80GB HBM3"])
    memory: int = Field(description="bytes")


class WorksOn(BaseModel):
    """The object on which a worker holds a lease."""

    what: Literal["job", "dataset", "model"]
    id: str


class WorkerView(BaseModel):
    """A worker process."""

    name: str = Field(description="name, as in a job's `worker`", examples=["gpu-host:4711"])
    queue: Literal["train", "inspect"] = Field(description="`train`: jobs; `inspect`: checks of uploads")
    alive: bool = Field(description="whether its last heartbeat is no older than a lease")
    works_on: WorksOn | None = Field(description="null: idle")
    complaint: str | None = Field(
        None,
        description="what keeps it from claiming jobs, such as a full disk; null: nothing",
        examples=["expected 1073741824 bytes to be free on the disk of the run folders, got 52428800"],
    )
    since: Timestamp = Field(description="time of its start")
    beat_at: Timestamp = Field(description="time of its last heartbeat")
    version: str
    cpus: int = Field(description="number of CPUs that it may use")
    devices: list[Device] = Field(description="GPUs as the driver names them; empty without a driver")

    @classmethod
    def of(cls, present: Present) -> Self:
        """Build the view of a worker."""
        shown = {field: getattr(present.row, field) for field in cls.model_fields if hasattr(present.row, field)}
        task = present.works_on
        works_on = WorksOn(what=task[0], id=task[1]) if task is not None else None
        return cls.model_validate(shown | {"alive": present.alive, "works_on": works_on})


class Workers(BaseModel):
    """The workers by name; one that vanished stays listed as not alive for a day."""

    data: list[WorkerView]


class QueuedJob(BaseModel):
    """A queued job."""

    id: str
    name: str | None
    kind: Literal["distill", "train", "evaluate", "export", "compare"]
    priority: int
    queued_at: Timestamp
    position: int | None = Field(description="1: claimed next; null: not claimable yet")
    waiting_for: list[Waiting]

    @classmethod
    def of(cls, row: Job, position: int | None, waiting_for: list[Waiting]) -> Self:
        """Build the view of a row."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        return cls.model_validate(shown | {"position": position, "waiting_for": waiting_for})


class QueueView(BaseModel):
    """The queue of jobs."""

    counts: dict[Status, int] = Field(description="number of jobs by status")
    workers: int = Field(description="number of live workers that run jobs, busy or idle")
    claimable: int = Field(description="number of queued jobs that wait only for a worker")
    oldest_seconds: float | None = Field(description="age of the oldest queued job, seconds; null: none is queued")
    data: list[QueuedJob] = Field(
        description="queued jobs in the order in which workers claim them: priority, then age"
    )
    has_more: bool
