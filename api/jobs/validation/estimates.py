"""Estimate the time and memory of a job from earlier similar jobs."""

from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.jobs.model_facts import architecture_of, own_model, teacher_of
from api.jobs.validation.schemas import Basis, Estimate
from api.tables.jobs import Job, JobEpoch
from api.tables.states import Status
from rdrkd.spec import JOB_SPEC, Distill, Evaluate, Export, JobSpec

LOOKED_AT = 200  # newest jobs on the dataset to consider
MOST = 10  # newest similar jobs to use
_TRAINING = ("imgsz", "batch", "amp", "compile", "fraction", "cache", "workers", "rect", "multi_scale")


def estimate(session: Session, spec: JobSpec) -> Estimate:
    """Return the time and memory of earlier jobs with the same architecture, dataset and settings."""
    wanted = _likeness(session, spec)
    if wanted["architecture"] is None:
        return _none("the model's architecture is not known yet, so no earlier job can be compared")
    done = (Job.kind == spec.kind, Job.status == Status.SUCCEEDED, Job.spec["dataset"].as_string() == spec.dataset)
    newest = session.scalars(select(Job).where(*done).order_by(Job.id.desc()).limit(LOOKED_AT)).all()
    alike = [
        job for job in newest if _measured(job) and _likeness(session, JOB_SPEC.validate_python(job.spec)) == wanted
    ]
    if not alike:
        return _none(f"no job with the same {', '.join(sorted(wanted))} has succeeded yet")
    device = _result(alike[0])["device"]
    return _of([job for job in alike if _result(job)["device"] == device][:MOST], device, sorted(wanted), spec, session)


def _of(jobs: list[Job], device: str, same: list[str], spec: JobSpec, session: Session) -> Estimate:
    ids = [job.id for job in jobs]
    basis = Basis(jobs=ids, epochs=0, device=device, same=same)
    memory = max(int(_result(job)["memory_bytes"]) for job in jobs)
    if isinstance(spec, Evaluate | Export):
        seconds = round(median(float(_result(job)["seconds"]) for job in jobs), 1)
        return Estimate(seconds=seconds, seconds_per_epoch=None, memory_bytes=memory, basis=basis, reason=None)
    rows = session.scalars(select(JobEpoch).where(JobEpoch.job_id.in_(ids))).all()
    if not rows:
        return _none("the earlier jobs that were alike have left no epochs")
    by_part: dict[str, list[float]] = {}
    for row in rows:
        by_part.setdefault(row.values.get("part", "student"), []).append(float(row.values["seconds"]))
    each = median(by_part["student"])
    parts = sum(map(median, by_part.values()))  # either all of the jobs have the same parts, or none has
    return Estimate(
        seconds=round(parts * spec.train.epochs, 1), seconds_per_epoch=round(each, 3), memory_bytes=memory,
        basis=basis.model_copy(update={"epochs": len(rows)}), reason=None,
    )  # fmt: skip


def _likeness(session: Session, spec: JobSpec) -> dict[str, Any]:
    """Return the settings that decide the cost; jobs in which they are equal are similar."""
    likeness: dict[str, Any] = {"architecture": architecture_of(session, own_model(spec)), "dataset": spec.dataset}
    if isinstance(spec, Evaluate):
        return likeness | {name: getattr(spec.evaluation, name) for name in ("imgsz", "batch", "split")}
    if isinstance(spec, Export):
        return likeness | spec.export.model_dump(mode="json")
    likeness |= {name: getattr(spec.train, name) for name in _TRAINING}
    if isinstance(spec, Distill):
        likeness["baseline"] = spec.baseline
        likeness["teacher"] = architecture_of(session, teacher_of(spec))
        likeness["losses"] = sorted(term.name for term in spec.distillation.recipe.terms)
    return likeness


def _result(job: Job) -> dict[str, Any]:
    return job.result or {}


def _measured(job: Job) -> bool:
    return {"device", "memory_bytes", "seconds"} <= set(_result(job))


def _none(reason: str) -> Estimate:
    return Estimate(seconds=None, seconds_per_epoch=None, memory_bytes=None, basis=None, reason=reason)
