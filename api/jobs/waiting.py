"""Why a queued job waits: "stuck, and no reason shown" is the commonest complaint about training services."""

from collections.abc import Iterator
from typing import Literal

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from api.datasets.tables import Dataset
from api.jobs.dependencies import ready
from api.jobs.schemas import Waiting
from api.jobs.states import Status
from api.jobs.tables import Job
from api.models.tables import Model
from api.ownership import EVERYBODYS
from api.quotas import quotas_of, running
from api.uploads import UploadStatus
from api.workers import service as workers
from rdrkd.spec import RUN_SPEC, JobOutput, RegisteredModel, needs_gpu, references


def waiting_for(session: Session, job: Job, count: bool = False, position: int | None = None) -> list[Waiting]:
    """Say what keeps a job from starting; nothing for a job that is not queued.

    Args:
        session: the caller's transaction.
        job: the job.
        count: count the jobs that go before it, too; costs a query.
        position: its place in the queue, where the caller knows it.
    """
    if job.status != Status.QUEUED:
        return []
    return list(_dependencies(session, job)) or [_turn(session, job, count, position)]


def _dependencies(session: Session, job: Job) -> Iterator[Waiting]:
    spec = RUN_SPEC.validate_python(job.spec)
    yield from _upload(session.get(Dataset, spec.dataset), "dataset")
    for reference in references(spec).values():
        if isinstance(reference, RegisteredModel):
            yield from _upload(session.get(Model, reference.model), "model")
        elif isinstance(reference, JobOutput):
            source = session.get(Job, reference.job)
            if source is not None and source.status != Status.SUCCEEDED:
                detail = f"waits for the weights of {source.id}, which is {source.status}"
                yield Waiting(what="job", id=source.id, status=source.status, detail=detail)


def _upload(upload: Dataset | Model | None, what: Literal["dataset", "model"]) -> Iterator[Waiting]:
    if upload is not None and upload.status != UploadStatus.READY:
        detail = f"waits for the check of {upload.id}, which is {upload.status}"
        yield Waiting(what=what, id=upload.id, status=upload.status, detail=detail)


def _turn(session: Session, job: Job, count: bool, position: int | None) -> Waiting:
    most = quotas_of(session).running_jobs
    if most and job.owner is not None and (now := running(session, job.owner)) >= most:
        return Waiting(what="quota", detail=f"waits until fewer than {most} jobs of {job.owner} run; now it is {now}")
    position = _position(session, job) if count else position
    gpu = needs_gpu(RUN_SPEC.validate_python(job.spec))
    kind = "worker with a GPU" if gpu else "worker"
    there = workers.with_gpus(session) if gpu else workers.alive(session)
    what = f"waits for a free {kind}" if there else f"waits for a {kind}: no {kind} is connected"
    if position is not None:
        what += f"; jobs that go before it: {position - 1}"
    return Waiting(what="worker", detail=what, position=position)


def _position(session: Session, job: Job) -> int:
    older = or_(Job.queued_at < job.queued_at, and_(Job.queued_at == job.queued_at, Job.id < job.id))
    first = or_(Job.priority > job.priority, and_(Job.priority == job.priority, older))
    before = select(func.count()).select_from(Job).where(Job.status == Status.QUEUED, first, ready(Job))
    return 1 + (session.scalar(before, execution_options=EVERYBODYS) or 0)
