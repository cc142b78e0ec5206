"""What the owner does with a job that is there. Functions take the request's session and never commit."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import NotPausable, NotPaused, NotRetryable
from api.jobs import control
from api.jobs import service as jobs
from api.jobs.dependencies import blocked
from api.jobs.states import ENDED_EARLY, Status
from api.jobs.tables import Job

EPOCHS = ("distill", "train")  # kinds that have epochs, and so checkpoints


def retry(session: Session, job_id: str, scratch: bool) -> Job:
    """Let a job that has failed or was cancelled go on, from its newest checkpoint or from scratch.

    Raises:
        NotFound: there is no such job.
        NotRetryable: it has ended otherwise or not at all, another job goes on in its place, or it can never start.
    """
    job = jobs.get(session, job_id)
    if job.status not in ENDED_EARLY:
        raise NotRetryable(f"expected a job that has failed or was cancelled, got one that is {job.status}")
    successor = session.scalar(select(Job.id).where(Job.continues == job_id).limit(1))
    if successor is not None:
        raise NotRetryable(f"expected a job that no other goes on from, got one that {successor} goes on from")
    if (problem := blocked(session, job.spec)) is not None:
        raise NotRetryable(f"expected a job that can start, got one that cannot: {problem[1]}")
    if not control.retry(session, job, scratch):
        raise NotRetryable(f"expected a job that stays as it is, got one that is {job.status} since")
    return job


def pause(session: Session, job_id: str, how: control.Pause) -> Job:
    """Ask a job to wait: at once where it is queued, else once its trainer has stopped; asking again changes nothing.

    Raises:
        NotFound: there is no such job.
        NotPausable: it has ended, or is being cancelled.
    """
    job = jobs.get(session, job_id)
    control.pause(session, job_id, how if job.kind in EPOCHS else "latest")
    session.refresh(job)
    if job.status not in (Status.PAUSING, Status.PAUSED):
        raise NotPausable(f"expected a job that is queued, starting or running, got one that is {job.status}")
    return job


def resume(session: Session, job_id: str) -> Job:
    """Queue a paused job again.

    Raises:
        NotFound: there is no such job.
        NotPaused: it is not paused (yet).
    """
    job = jobs.get(session, job_id)
    resumed = control.resume(session, job_id)
    session.refresh(job)
    if not resumed:
        raise NotPaused(f"expected a job that is paused, got one that is {job.status}")
    return job
