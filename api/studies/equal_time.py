"""Equal-time controls of a study: train the student alone for as long as a method took, once that time is known."""

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
    """Yield each control that can be queued now: its method, its seed, and its length as a multiple of the study's.

    Yields nothing while a job of the study is active, or if one was cancelled: the study must be resumed first.

    Args:
        session: the caller's transaction.
        spec: the study's specification.
        rows: its members with their jobs.
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
    """Return the multiple that other seeds of this method already use, or None."""
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
