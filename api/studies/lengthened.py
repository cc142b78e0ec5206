"""The members whose length is measured: the student alone for as long as a method took, queued once that is known."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.tables.jobs import Job, JobEpoch
from api.tables.states import TERMINAL, Status
from api.tables.studies import StudyMember
from rdrkd.spec.study import Method
from rdrkd.spec.study import Study as Spec
from rdrkd.study.timing import factor

Rows = Sequence[tuple[StudyMember, Job]]


def due(session: Session, spec: Spec, rows: Rows) -> Iterator[tuple[Method, int, float]]:
    """Yield method, seed and how many times longer than the study says, of each such member that can be queued by now.

    None is, while a job of the study goes on, nor where one was cancelled: `resume` comes first.

    Args:
        session: the caller's transaction.
        spec: the study's.
        rows: its members' jobs.
    """
    there = {(row.method, row.seed) for row, _ in rows}
    timed = [method for method in spec.each_method if method.as_long_as]
    missing = [(method, seed) for seed in spec.seeds for method in timed if (method.name, seed) not in there]
    statuses = {job.status for _, job in rows}
    if not missing or Status.CANCELLED in statuses or not statuses <= TERMINAL:
        return
    costs = [_cost(session, row, job) for row, job in rows if job.status == Status.SUCCEEDED]
    for method, seed in missing:
        times = length(spec, method, rows) or factor(str(method.as_long_as), costs)
        if times is not None:
            yield method, seed, times


def length(spec: Spec, method: Method, rows: Rows) -> float | None:
    """Return how many times longer a method was made for other seeds already."""
    for row, job in rows:
        if row.method == method.name:
            return float(job.spec["train"]["epochs"]) / spec.train.epochs
    return None


def _cost(session: Session, row: StudyMember, job: Job) -> dict[str, Any]:
    epochs = session.scalars(select(JobEpoch.values).where(JobEpoch.job_id == job.id)).all()
    processor = [each.get("processor_seconds") for each in epochs]
    return {
        "method": row.method,
        "epochs": max(1, len(epochs)),
        "seconds": sum(float(each["seconds"]) for each in epochs),
        "processor_seconds": None if None in processor else sum(processor),
    }
