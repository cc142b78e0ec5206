"""Studies as the API shows them."""

from collections import Counter
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.studies.service import Members
from api.tables.jobs import Job
from api.tables.states import HELD, TERMINAL, Status
from api.tables.studies import Study
from api.timestamps import Timestamp
from rdrkd.reasons import Reason
from rdrkd.spec.study import Choice, Seed

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


class Extension(BaseModel):
    """Methods and seeds to add to a study: every method gets every seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[Choice, ...] = Field((), max_length=100, description="methods, as in a study")
    seeds: tuple[Seed, ...] = Field((), max_length=100)


class StudyLinks(BaseModel):
    """URLs of related resources."""

    self: str
    cancel: str
    extend: str
    resume: str
    report: str


class MemberView(BaseModel):
    """One method with one seed, and its job."""

    method: str = Field(description="method; `teacher`: the job that trains the teacher")
    seed: int
    job: str
    status: Status
    reason: Reason | None
    epoch: int | None
    epochs: int | None
    AP: float | None = Field(description="AP of the finished student, COCO protocol, percent")


class StudySummary(BaseModel):
    """A study without its members."""

    id: str = Field(examples=["stu_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["study"] = "study"
    name: str
    status: State = Field(
        description="`failed`, `cancelled`: no job is active, and at least one has this status; `paused`: the "
        "remaining jobs are paused"
    )
    owner: str | None = Field(description="owner; null: the operator")
    jobs: dict[Status, int] = Field(description="number of jobs by status, including the teacher's")
    eta_seconds: float | None = Field(description="estimated time to the end of all members, from the finished ones")
    created_at: Timestamp
    links: StudyLinks

    @classmethod
    def of(cls, study: Study, members: Members, /, **more: Any) -> Self:
        """Build the view of a row and its jobs, with `more` fields of a wider view."""
        base = f"/v1/studies/{study.id}"
        links = {"self": base, **{name: f"{base}/{name}" for name in ("cancel", "extend", "resume", "report")}}
        counts = Counter(job.status for job in members.jobs)
        return cls.model_validate(
            {
                "id": study.id, "name": study.name, "owner": study.owner, "status": state_of(counts), "jobs": counts,
                "eta_seconds": _eta(members), "created_at": study.created_at,
                "links": links,
            }
            | more
        )  # fmt: skip


class ReportView(BaseModel):
    """The newest report, and whether it is up to date."""

    job: str = Field(description="job that made it; its artifacts contain every file of the report")
    members: int = Field(description="number of members in it")
    current: bool = Field(description="whether it covers all members that have succeeded so far")


class StudyView(StudySummary):
    """A study with its members, seed by seed."""

    spec: dict[str, Any]
    teacher: MemberView | None = Field(description="the job that trains it, if the study does")
    members: list[MemberView]
    report: ReportView | None

    @classmethod
    def whole(cls, study: Study, members: Members, report: Job | None) -> Self:
        """Build the detailed view of a study."""
        drawn = None
        if report is not None:
            current = report.spec["jobs"] == members.succeeded
            drawn = {"job": report.id, "members": len(report.spec["jobs"]), "current": current}
        return cls.of(
            study, members, spec=study.spec, report=drawn,
            teacher=_member("teacher", 0, members.teacher) if members.teacher is not None else None,
            members=[_member(row.method, row.seed, job) for row, job in members.rows],
        )  # fmt: skip


def _member(method: str, seed: int, job: Job) -> dict[str, Any]:
    progress, metrics = job.progress or {}, (job.result or {}).get("metrics", {})
    return {
        "method": method, "seed": seed, "job": job.id, "status": job.status, "reason": job.reason,
        "epoch": progress.get("epoch"), "epochs": progress.get("epochs"), "AP": metrics.get("coco", {}).get("AP"),
    }  # fmt: skip


def state_of(counts: Counter[Status]) -> State:
    """Return the status of a study, given the statuses of its jobs."""
    going = set(counts) - TERMINAL
    if going == {Status.PAUSED}:
        return "paused"
    if going:
        return "queued" if set(counts) == {Status.QUEUED} else "running"
    if counts[Status.FAILED]:
        return "failed"
    return "cancelled" if counts[Status.CANCELLED] else "succeeded"


def _eta(members: Members) -> float | None:
    """Estimate the seconds to the end: the remaining members, at the mean time of finished ones, over the workers.

    None before the first member has finished, and after all have ended.
    """
    jobs = [job for _, job in members.rows]
    spent = [
        (job.finished_at - job.started_at).total_seconds()
        for job in jobs
        if job.status == Status.SUCCEEDED and job.finished_at is not None and job.started_at is not None
    ]
    held = [job for job in jobs if job.status in HELD]
    queued = sum(job.status == Status.QUEUED for job in jobs)
    if not spent or not (held or queued):
        return None
    mean = sum(spent) / len(spent)
    left = [float((job.progress or {}).get("eta_seconds") or mean) for job in held]
    return round((sum(left) + queued * mean) / max(len(held), 1), 1)
