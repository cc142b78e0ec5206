"""What the owner does with a job that is there. Functions take the request's session and never commit."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import NotRetryable
from api.jobs import control
from api.jobs import service as jobs
from api.jobs.dependencies import blocked
from api.jobs.states import ENDED_EARLY
from api.jobs.tables import Job


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
