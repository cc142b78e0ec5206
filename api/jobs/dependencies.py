"""What a job waits for: its dataset, its models and the jobs whose weights it uses."""

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.util import AliasedClass

from api.datasets.tables import Dataset
from api.db import now
from api.jobs.states import Status
from api.jobs.tables import Artifact, Job
from api.models.tables import Model
from api.uploads import UploadStatus
from rdrkd.reasons import Reason
from rdrkd.spec import NEEDS_GPU

WEIGHTS = "student.pt"  # the file that a job hands to the jobs that name it
STATE = "state.pt"  # what another attempt resumes from: nobody else's business
NEWEST_FIRST = (Artifact.attempt.desc(), Artifact.epoch.desc(), Artifact.id.desc())  # of files of one name
_FIELDS = ("teacher", "student", "model")  # the spec's model references

Blocked = tuple[Reason, str]  # why a job will never start, and a sentence that names the culprit


def ready(job: type[Job] | AliasedClass[Job]) -> ColumnElement[bool]:
    """Give the SQL condition that everything `job` refers to can be used now."""
    dataset = exists().where(Dataset.id == job.spec["dataset"].as_string(), Dataset.status == UploadStatus.READY)
    return and_(dataset, *(_reference_ready(job, field) for field in _FIELDS))


def overdue(job: type[Job] | AliasedClass[Job]) -> ColumnElement[bool]:
    """Give the SQL condition that the job's deadline has passed, by the server's clock."""
    return and_(job.deadline.is_not(None), job.deadline < now())


def for_gpus(job: type[Job] | AliasedClass[Job]) -> ColumnElement[bool]:
    """Give the SQL condition that only a worker with a GPU can do the job."""
    return func.coalesce(job.spec[("export", "format")].as_string(), "").in_(NEEDS_GPU)


def _reference_ready(job: type[Job] | AliasedClass[Job], field: str) -> ColumnElement[bool]:
    model_id = job.spec[(field, "model")].as_string()
    job_id = job.spec[(field, "job")].as_string()
    source = aliased(Job)
    weights = exists().where(Artifact.job_id == source.id, Artifact.name == WEIGHTS)
    return and_(
        or_(model_id.is_(None), exists().where(Model.id == model_id, Model.status == UploadStatus.READY)),
        or_(job_id.is_(None), exists().where(source.id == job_id, source.status == Status.SUCCEEDED, weights)),
    )


def blocked(session: Session, spec: dict[str, Any]) -> Blocked | None:
    """Say why a job with this spec can never start, or None while it can."""
    problem = _upload_problem(session.get(Dataset, spec["dataset"]), "dataset", spec["dataset"], Reason.DATASET_INVALID)
    for field in _FIELDS:
        reference: dict[str, str] = spec.get(field) or {}
        if problem is None and "model" in reference:
            model = session.get(Model, reference["model"])
            problem = _upload_problem(model, field, reference["model"], Reason.MODEL_INVALID)
        if problem is None and "job" in reference:
            problem = _job_problem(session, field, reference["job"])
    return problem


def _upload_problem(upload: Dataset | Model | None, field: str, upload_id: str, invalid: Reason) -> Blocked | None:
    if upload is None:
        return Reason.DEPENDENCY_FAILED, f"{field}: expected an upload that exists, but {upload_id} does not"
    if upload.status == UploadStatus.INVALID:
        details = "; ".join(str(problem.get("detail")) for problem in upload.problems[:3])
        return invalid, f"{field}: {upload_id} was checked and refused: {details}"
    return None


def _job_problem(session: Session, field: str, job_id: str) -> Blocked | None:
    job = session.get(Job, job_id)
    if job is None:
        return Reason.DEPENDENCY_FAILED, f"{field}: expected a job that exists, but {job_id} does not"
    if job.status in (Status.FAILED, Status.CANCELLED):
        return Reason.DEPENDENCY_FAILED, f"{field}: waited for the weights of {job_id}, which ended as {job.status}"
    if job.status == Status.SUCCEEDED and newest_weights(session, job_id) is None:
        return Reason.DEPENDENCY_FAILED, f"{field}: waited for the weights of {job_id}, which hands back none"
    return None


def newest_weights(session: Session, job_id: str, name: str = WEIGHTS) -> Artifact | None:
    """Give the newest weights that a job has published: those of its last attempt's last checkpoint."""
    return session.scalars(
        select(Artifact).where(Artifact.job_id == job_id, Artifact.name == name).order_by(*NEWEST_FIRST).limit(1)
    ).one_or_none()


def waiting_for(session: Session, row_id: str) -> list[str]:
    """Give the queued jobs that name a dataset, model or job: their bell is due when it becomes ready."""
    named = cast(Job.spec, Text).contains(row_id)
    return list(session.scalars(select(Job.id).where(Job.status == Status.QUEUED, named)))
