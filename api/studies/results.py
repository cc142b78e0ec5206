"""Build a study's results, in the command line's format, from the rows of its jobs; and select the panel's students."""

from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.jobs import warnings
from api.ownership import EVERYBODYS
from api.studies import service
from api.tables.datasets import Dataset
from api.tables.job_inputs import newest_weights
from api.tables.jobs import Artifact, Job, JobEpoch
from api.tables.models import Model
from rdrkd.spec import Architecture, JobOutput, ModelRef, Pretrained, RegisteredModel
from rdrkd.spec.study import Study as Spec
from rdrkd.study import results
from rdrkd.study.members import Member, columns_of, member_of, teacher_hash
from rdrkd.study.record import record_of, teacher_record_of


def results_of(session: Session, study_id: str, jobs: list[str]) -> results.Results:
    """Return the results of the study's members that were trained by these jobs.

    Args:
        session: the caller's transaction.
        study_id: the study.
        jobs: ids of jobs that have succeeded; those that no longer belong to a member are left out.
    """
    study = service.get(session, study_id)
    spec, members = Spec.model_validate(study.spec), service.members_of(session, study)
    dataset = session.get_one(Dataset, spec.dataset, execution_options=EVERYBODYS)  # it may no longer be shared
    methods = {method.name: method for method in spec.each_method}

    @cache
    def identity(model: ModelRef) -> Any:
        return _identity(session, model)

    sha256, records = dataset.sha256 or "", []  # no hash: never imported, so nothing was trained on it
    for row, job in members.rows:
        if job.id in jobs:
            teacher = job.spec.get("teacher", {})
            method = methods[row.method]
            member = member_of(spec, method, row.seed, sha256, teacher, identity)
            if method.as_long_as:
                member = replace(member, stretched=round(job.spec["train"]["epochs"] / spec.train.epochs, 3))
            records.append({**_record(session, member, job), "job": job.id})
    teachers = {}
    if members.teacher is not None and members.teacher.result is not None:
        made = teacher_record_of(members.teacher.result, members.teacher.resolved_spec or {})
        teachers[teacher_hash(spec, identity)] = {**made, "job": members.teacher.id}
    return {
        "format": results.FORMAT, "name": study.name, "dataset": dataset.name or dataset.filename,
        "dataset_sha256": sha256, "command": f"study {study.id}", "commands": [f"study {study.id}"],
        "study": spec.model_dump(mode="json", exclude_none=True), "teachers": teachers,
        "members": results.ordered(records), "failures": _failures(members), "notes": [],
        "versions": records[-1]["versions"] if records else {},
    }  # fmt: skip


def panel_of(session: Session, study_id: str, jobs: list[str]) -> list[tuple[str, Artifact]]:
    """Return the students for the panel, by method: for one seed, the student alone and the first methods."""
    rows = service.members_of(session, service.get(session, study_id)).rows
    columns = columns_of((row.method, row.seed, job.id) for row, job in rows if job.id in jobs)
    found = [(method, newest_weights(session, job_id)) for method, job_id in columns]
    return [(method, weights) for method, weights in found if weights is not None]


def _record(session: Session, member: Member, job: Job) -> dict[str, Any]:
    epochs = session.scalars(select(JobEpoch).where(JobEpoch.job_id == job.id).order_by(JobEpoch.epoch)).all()
    shown = [{"code": row.code, "message": row.message, "epoch": row.epoch} for row in warnings.of(session, job.id)]
    assert job.result is not None
    assert job.resolved_spec is not None
    assert job.finished_at is not None
    return record_of(member, job.result, job.resolved_spec, [row.values for row in epochs], shown, job.finished_at)


def _failures(members: service.Members) -> list[dict[str, Any]]:
    return [
        {
            "method": row.method, "seed": row.seed, "hash": "", "reason": str(job.reason), "message": job.message or "",
            "job": job.id,
        }
        for row, job in members.rows
        if job.status in service.Ended
    ]  # fmt: skip


def _identity(session: Session, model: ModelRef) -> Any:
    """Return a model's identity, as the command line does for files: architectures by name, weights by hash."""
    match model:
        case Architecture() | Pretrained():
            return model.model_dump(mode="json")
        case RegisteredModel():
            return {"sha256": session.get_one(Model, model.model, execution_options=EVERYBODYS).sha256}
        case JobOutput():
            weights = newest_weights(session, model.job)
            return {"sha256": weights.sha256 if weights is not None else None}
        case _:
            raise AssertionError("the service refuses paths")
