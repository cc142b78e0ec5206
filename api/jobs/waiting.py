"""The reasons why a queued job waits: "stuck, no reason shown" is the top complaint about training services."""

from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Literal

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from api.access.quotas import quotas_of, running
from api.jobs.schemas import Waiting
from api.jobs.workers import service as workers
from api.ownership import EVERYBODYS
from api.tables.datasets import Dataset
from api.tables.job_inputs import claimable, rows_of
from api.tables.jobs import Job
from api.tables.models import Model
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from rdrkd.spec import RUN_SPEC, JobOutput, RegisteredModel, references

MOST_BEFORE = 1000  # longest queue position to count


class Shared:
    """What the jobs of one response share, each read once: counts, and the rows to which waiting jobs refer."""

    def __init__(self, session: Session, jobs: Iterable[Job] = ()) -> None:
        waiting = (job.spec for job in jobs if job.status == Status.QUEUED and job.waits)
        self.inputs = rows_of(session, waiting)  # kept, so that the session has them
        self.running = cache(partial(running, session))  # running jobs of an owner
        self.workers = cache(partial(_workers, session))  # live workers: those with a GPU, or all


def waiting_for(
    session: Session, job: Job, count: bool = False, position: int | None = None, shared: Shared | None = None
) -> list[Waiting]:
    """Return what keeps a job from starting; an empty list for a job that is not queued.

    Args:
        session: the caller's transaction.
        job: the job.
        count: also count the jobs before it in the queue, up to `MOST_BEFORE`; costs a query.
        position: its place in the queue, if the caller knows it.
        shared: for a response with several jobs.
    """
    if job.status != Status.QUEUED:
        return []
    dependencies = list(_dependencies(session, job)) if job.waits else []
    return dependencies or [_turn(session, job, count, position, shared or Shared(session))]


def _dependencies(session: Session, job: Job) -> Iterator[Waiting]:
    spec = RUN_SPEC.validate_python(job.spec)
    # Even if it is no longer shared: a queued job keeps what it refers to.
    yield from _upload(session.get(Dataset, spec.dataset, execution_options=EVERYBODYS), "dataset")
    for reference in references(spec).values():
        if isinstance(reference, RegisteredModel):
            yield from _upload(session.get(Model, reference.model, execution_options=EVERYBODYS), "model")
        elif isinstance(reference, JobOutput):
            source = session.get(Job, reference.job)
            if source is not None and source.status != Status.SUCCEEDED:
                called = f"{source.name} ({source.id})" if source.name else source.id
                detail = f"waits for the weights of {called}, which is {source.status}"
                yield Waiting(what="job", id=source.id, status=source.status, detail=detail)


def _upload(upload: Dataset | Model | None, what: Literal["dataset", "model"]) -> Iterator[Waiting]:
    if upload is not None and upload.status != UploadStatus.READY:
        detail = f"waits for the check of {upload.id}, which is {upload.status}"
        yield Waiting(what=what, id=upload.id, status=upload.status, detail=detail)


def _turn(session: Session, job: Job, count: bool, position: int | None, shared: Shared) -> Waiting:
    most = quotas_of(session).running_jobs
    if most and job.owner is not None and (now := shared.running(job.owner)) >= most:
        return Waiting(what="quota", detail=f"waits until fewer than {most} jobs of {job.owner} run; {now} run now")
    position = _position(session, job) if count else position
    kind = "worker with a GPU" if job.gpu else "worker"
    there = shared.workers(job.gpu)
    what = f"waits for a free {kind}" if there else f"waits for a {kind}: no {kind} is connected"
    if position is not None:
        before = f"more than {MOST_BEFORE}" if position > MOST_BEFORE else str(position - 1)
        what += "; it is next" if position == 1 else f"; {before} {'job is' if position == 2 else 'jobs are'} before it"
    return Waiting(what="worker", detail=what, position=position)


def _workers(session: Session, with_gpu: bool) -> int:
    return workers.with_gpus(session) if with_gpu else workers.alive(session)


def _position(session: Session, job: Job) -> int:
    """Count the jobs before a job in the queue, up to `MOST_BEFORE`."""
    of_equal_priority = (Job.priority == job.priority, Job.queued_at <= job.queued_at)
    older = (*of_equal_priority, or_(Job.queued_at < job.queued_at, Job.id < job.id))
    before = 0
    for first in ([Job.priority > job.priority], older):  # each is one range scan of the index
        some = select(Job.id).where(claimable(Job), *first).limit(MOST_BEFORE - before).subquery()
        before += session.scalar(select(func.count()).select_from(some), execution_options=EVERYBODYS) or 0
        if before >= MOST_BEFORE:
            break
    return 1 + before
