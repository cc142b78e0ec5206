"""The API's operations on jobs. Functions take the request's session and never commit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.orm import Session

from api import log_setup, tracing
from api.access import quotas
from api.db import UtcDateTime, new_id, now
from api.errors import AlreadyFinished, Invalid, PathNotAllowed, UnknownReference, Unprocessable, UnusableReference
from api.jobs import input_checks, lifecycle, unblocking
from api.jobs.events import service as events
from api.jobs.naming import meant
from api.jobs.workers import service as workers
from api.ownership import owner_of
from api.pagination import get_or_404, is_id, page
from api.tables.datasets import Dataset
from api.tables.jobs import COMPARE, Job
from api.tables.models import Model
from api.tables.states import TERMINAL, Status
from api.tables.uploads import UploadStatus
from rdrkd.errors import Problem
from rdrkd.spec import (
    Architecture,
    Compare,
    JobOutput,
    JobSpec,
    LocalModel,
    ModelRef,
    Pretrained,
    RegisteredModel,
    RunSpec,
    needs_gpu,
    references,
    replaced,
)
from rdrkd.spec.references import DATASET_ID
from rdrkd.spec.study import Study

Refusal = tuple[type[Unprocessable], Problem]
Spec = TypeVar("Spec", bound=RunSpec | Study)
_PATH = re.compile(r"[/\\]|^[.~]|\.(zip|tar|tar\.gz|tgz|ya?ml)$", re.IGNORECASE)
WITHOUT_WEIGHTS = ("evaluate", "export")  # kinds of jobs that produce no weights to start from


def create(session: Session, spec: JobSpec) -> Job:
    """Queue a job.

    Raises:
        PathNotAllowed: the spec names a path.
        UnknownReference: it refers to something that does not exist.
        UnusableReference: it refers to something that can never be used.
        Invalid: its deadline has passed, no live worker can run it, or it does not fit its dataset or models.
        QuotaExceeded: its owner has too many queued jobs, or stored too much.
    """
    spec = with_ids(session, spec)
    check_references(session, spec.dataset, references(spec))
    check_deadline(session, spec.deadline)
    check_workers(session, spec)
    input_checks.check(session, spec)
    row = add(session, spec, owner_of(session))
    quotas.check_jobs(session, row.owner)
    return row


def with_ids(session: Session, spec: Spec) -> Spec:
    """Return a job's or study's spec with ids in place of names, so that later changes of names do not affect it.

    Only the spec's reference fields are replaced; an unknown name stays.
    """
    ids: dict[str, Any] = {}
    for field, reference in references(spec).items():
        if isinstance(reference, RegisteredModel) and len(found := _meant(session, Model, reference.model)) == 1:
            ids[field] = RegisteredModel(model=found[0])
        elif isinstance(reference, JobOutput) and len(found := _meant(session, Job, reference.job)) == 1:
            ids[field] = JobOutput(job=found[0])
    if len(found := _meant(session, Dataset, spec.dataset)) == 1:
        ids["dataset"] = found[0]
    return replaced(spec, ids)


def _meant(session: Session, table: Any, text: str) -> list[str]:
    return [] if is_id(text) else meant(session, table, text)


def add(session: Session, spec: RunSpec, owner: str | None, continues: str | None = None) -> Job:
    """Queue a job whose references have been checked.

    Args:
        session: the caller's transaction.
        spec: the job's specification.
        owner: the job's owner; for a study's jobs the study's, whoever the caller is.
        continues: an ended job from whose checkpoints this one starts.
    """
    row = Job(id=new_id("job"), kind=spec.kind, name=spec.name, spec=spec.model_dump(mode="json", exclude_unset=True))
    row.priority, row.timeout_seconds, row.deadline = spec.priority, spec.timeout_seconds or 0, spec.deadline
    row.owner, row.continues, row.gpu = owner, continues, needs_gpu(spec)
    row.request_id, row.traceparent = log_setup.current_request(), tracing.current()
    row.study = spec.study if isinstance(spec, Compare) else None
    row.rung_at = now()  # the message is sent right after the commit; if that fails, the reaper sends another
    session.add(row)
    session.flush()
    unblocking.enter(session, row)
    events.moved(session, row.id)
    return row


def get(session: Session, job_id: str) -> Job:
    """Read one job.

    Raises:
        NotFound: there is none.
    """
    return get_or_404(session, Job, job_id)


def newest(
    session: Session,
    limit: int,
    after: str | None,
    status: Sequence[Status] = (),
    kind: str | None = None,
    labels: Mapping[str, str] | None = None,
    others: Sequence[ColumnElement[bool]] = (),
) -> tuple[Sequence[Job], str | None]:
    """Read one page of jobs, newest first, and the next cursor; filters narrow it down."""
    query = select(Job).where(*others)
    if status:
        query = query.where(Job.status.in_(status))
    # Users do not submit the jobs that draw studies' reports, so lists show them on request only.
    query = query.where(Job.kind == kind if kind is not None else Job.kind != COMPARE)
    for key, value in (labels or {}).items():
        query = query.where(Job.spec[("labels", key)].as_string() == value)
    return page(session, query, Job.id, limit, after)


def cancel(session: Session, job_id: str) -> Job:
    """Request a job's cancellation; a repeated request changes nothing.

    Raises:
        NotFound: there is no such job.
        AlreadyFinished: it has ended otherwise.
    """
    get(session, job_id)
    lifecycle.request_cancel(session, job_id)
    job = get_or_404(session, Job, job_id, populate_existing=True)
    if job.status in TERMINAL - {Status.CANCELLED}:
        raise AlreadyFinished(f"expected a job that has not ended, got one that {job.status}")
    return job


def check_deadline(session: Session, deadline: datetime | None) -> None:
    """Check that a deadline is in the future, by the database's clock.

    Raises:
        Invalid: it has passed.
    """
    if deadline is not None and is_past(session, deadline):
        raise Invalid.at(Problem("/deadline", f"expected a time in the future, got {deadline.isoformat()}"))


def check_workers(session: Session, spec: RunSpec) -> None:
    """Check that a live worker can run the job; without live workers, assume that one will come.

    Raises:
        Invalid: the job needs TensorRT, and no live worker has a GPU.
    """
    if needs_gpu(spec) and (there := workers.alive(session)) and not workers.with_gpus(session):
        detail = f"expected a format that a worker here can make, got one for NVIDIA GPUs: none of {there} has one"
        raise Invalid.at(Problem("/export/format", detail))


def is_past(session: Session, moment: datetime) -> bool:
    """Return whether a time has passed, by the database's clock."""
    return bool(session.scalar(select(literal(moment, UtcDateTime()) <= now())))


def check_references(session: Session, dataset: str, models: Mapping[str, ModelRef]) -> None:
    """Check that everything that a spec refers to can be used.

    Args:
        session: the caller's transaction.
        dataset: the spec's reference to its dataset.
        models: its model references by the field that holds them, `teacher` or `teacher/model`.

    Raises:
        PathNotAllowed: it names a path.
        UnknownReference: it refers to something that does not exist.
        UnusableReference: it refers to something that can never be used.
    """
    refusals = list(_refusals(session, dataset, models))
    if refusals:
        raise refusals[0][0].at(*(problem for _, problem in refusals))


def _refusals(session: Session, dataset: str, models: Mapping[str, ModelRef]) -> Iterator[Refusal]:
    if re.fullmatch(DATASET_ID, dataset):
        yield from _upload_refusals(session.get(Dataset, dataset), "dataset", dataset, "/dataset")
    elif _PATH.search(dataset):
        detail = f"expected a dataset's id or name, got {dataset[:80]!r}: only the command line takes paths"
        yield PathNotAllowed, Problem("/dataset", detail)
    else:
        detail = f"expected a dataset that exists, by its id, ds_..., name or name@version, got {dataset[:80]!r}"
        yield UnknownReference, Problem("/dataset", detail)
    for field, reference in models.items():
        match reference:
            case LocalModel():
                detail = "expected a model by id, job or architecture, got a path: only the command line takes paths"
                yield PathNotAllowed, Problem(f"/{field}/path", detail)
            case RegisteredModel():
                yield from _upload_refusals(
                    session.get(Model, reference.model) if is_id(reference.model) else None,
                    "model",
                    reference.model[:80],
                    f"/{field}/model",
                )
            case JobOutput():
                yield from _job_refusals(session, reference.job, f"/{field}/job")
            case Architecture() | Pretrained():
                pass


def _upload_refusals(upload: Dataset | Model | None, what: str, id_: str, where: str) -> Iterator[Refusal]:
    if upload is None:
        yield UnknownReference, Problem(where, f"expected a {what} that exists, got {id_}")
    elif upload.status == UploadStatus.INVALID:
        reason = "".join(f": {problem['detail']}" for problem in upload.problems[:1])
        came = f"{id_} ({upload.filename}){reason}"
        yield UnusableReference, Problem(where, f"expected a {what} that has passed its check, got {came}")


def _job_refusals(session: Session, id_: str, where: str) -> Iterator[Refusal]:
    job = session.get(Job, id_) if is_id(id_) else None
    if job is None:
        several = f", which {', '.join(found)} have" if (found := _meant(session, Job, id_)) else ""
        detail = f"expected a job that exists, got {id_[:80]}{several}"
        yield UnknownReference, Problem(where, detail)
    elif job.kind in WITHOUT_WEIGHTS:
        yield UnusableReference, Problem(where, f"expected a job that produces weights, got one of kind {job.kind}")
    elif job.status in (Status.FAILED, Status.CANCELLING, Status.CANCELLED):
        yield UnusableReference, Problem(where, f"expected a job that can still succeed, got one that is {job.status}")
