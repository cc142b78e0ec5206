"""Register students of jobs as models, with their lineage, versions and aliases."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from api.db import new_id
from api.errors import Invalid, NotFound, NotReady
from api.jobs import service as jobs
from api.storage import Stored
from api.tables.job_inputs import WEIGHTS, newest_weights
from api.tables.jobs import Artifact, Job
from api.tables.models import Model, ModelAlias
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from api.uploads import model_versions, service
from api.uploads.models.service import get
from rdrkd.errors import Problem


def student(session: Session, job_id: str, name: str | None) -> tuple[Job, Artifact, str]:
    """Return the weights to register and their name.

    Raises:
        NotFound: there is no such job.
        NotReady: it has not succeeded, or produces no weights.
        Invalid: neither the request nor the job has a name.
    """
    job = jobs.get(session, job_id)
    if job.status != Status.SUCCEEDED:
        raise NotReady(f"expected a job that has succeeded, got one that is {job.status}")
    weights = newest_weights(session, job_id)
    if weights is None:
        raise NotReady(f"expected a job that produces weights, got one of kind {job.kind}")
    if (called := name or job.name) is None:
        raise Invalid.at(Problem("/name", "expected a name for the model, since the job has none, got none"))
    return job, weights, called


def create(session: Session, job: Job, name: str, stored: Stored, aliases: Sequence[str]) -> Model:
    """Register a job's student as a model of the job's owner, with its lineage; a worker will check it.

    Args:
        session: the caller's transaction.
        job: the job.
        name: the model's name.
        stored: the student's file, which is in the store already.
        aliases: aliases to move to this version.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
    """
    row = Model(id=new_id("mdl"), name=name, filename=WEIGHTS, key=stored.key, sha256=stored.sha256, size=stored.size)
    row.lineage = lineage_of(job)
    service.add_for(session, row, job.owner)
    for alias in dict.fromkeys(aliases):
        model_versions.move(session, row, alias)
    return row


def lineage_of(job: Job) -> dict[str, Any]:
    """Return the lineage of a job's student, as a copy that outlives the objects to which it refers."""
    resolved, result = job.resolved_spec or {}, job.result or {}
    provenance = resolved.get("provenance", {})
    return {
        "job": job.id,
        "kind": job.kind,
        "dataset": job.spec["dataset"],
        "dataset_sha256": provenance.get("dataset_sha256"),
        "teacher": job.spec.get("teacher"),
        "teacher_sha256": provenance.get("model_sha256", {}).get("teacher"),
        "resolved_spec": job.resolved_spec,
        "metrics": result.get("metrics"),
        "best_epoch": result.get("best_epoch"),
        "finished_at": job.finished_at.isoformat(timespec="microseconds") if job.finished_at is not None else None,
    }


def move_alias(session: Session, model_id: str, alias: str) -> Model:
    """Move an alias of a model's name to this version.

    Raises:
        NotFound: there is no such model.
        NotReady: it has no name, or is invalid.
    """
    row = get(session, model_id)
    if row.name is None:
        raise NotReady("expected a model with a name, which aliases belong to, got one without")
    if row.status == UploadStatus.INVALID:
        raise NotReady("expected a model that is not invalid, got one whose check has failed")
    model_versions.move(session, row, alias)
    session.refresh(row, ["aliases"])
    return row


def drop_alias(session: Session, model_id: str, alias: str) -> None:
    """Delete an alias of this version.

    Raises:
        NotFound: there is no such model, or the alias belongs to another version.
    """
    row = get(session, model_id)
    found = session.get(ModelAlias, (model_versions.series_id(row.owner, row.name or ""), alias))
    if found is None or found.model_id != model_id:
        raise NotFound("expected an alias of this model, got one that is not")
    session.delete(found)
