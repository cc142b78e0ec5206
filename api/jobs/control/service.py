"""The owner's operations on an existing job. Functions take the request's session and never commit."""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.access import quotas
from api.errors import IfMatchMissing, NotChangeable, NotPausable, NotPaused, NotRetryable, PreconditionFailed
from api.jobs import service as jobs
from api.jobs.control import transitions
from api.jobs.control.schemas import Change
from api.pagination import get_or_404
from api.tables.job_inputs import blocked, unreadable
from api.tables.jobs import Job
from api.tables.states import ENDED_EARLY, Status

TRIES = 5  # of a change that is independent of the job's version
EPOCHS = ("distill", "train")  # kinds that have epochs, and so checkpoints


def retry(session: Session, job_id: str, scratch: bool) -> Job:
    """Retry a job that failed or was cancelled, from its newest checkpoint or from scratch.

    Raises:
        NotFound: there is no such job.
        NotRetryable: it has neither failed nor been cancelled, another job has replaced it, it can never start, or what
            it refers to is no longer shared with the caller.
        QuotaExceeded: its owner has too many queued jobs, or stored too much.
    """
    job = jobs.get(session, job_id)
    if job.status not in ENDED_EARLY:
        raise NotRetryable(f"expected a job that has failed or was cancelled, got one that is {job.status}")
    successor = session.scalar(select(Job.id).where(Job.continues == job_id).limit(1))
    if successor is not None:
        raise NotRetryable(f"expected a job that no other job has replaced, but {successor} has replaced it")
    if job.deadline is not None and jobs.is_past(session, job.deadline):
        raise NotRetryable(f"expected a job whose deadline is in the future, got {job.deadline.isoformat()}")
    if (problem := blocked(session, job.spec)) is not None:
        raise NotRetryable(f"expected a job that can start, got one that cannot: {problem[1]}")
    if (unshared := unreadable(session, job.spec)) is not None:
        raise NotRetryable(f"expected a job whose dataset and models the caller may use; {unshared}")
    if not transitions.retry(session, job, scratch):
        raise NotRetryable(f"expected an unchanged job, but it has meanwhile become {job.status}")
    quotas.check_jobs(session, job.owner)
    return job


def pause(session: Session, job_id: str, how: transitions.Pause) -> Job:
    """Pause a job: at once if it is queued, else once its trainer has stopped; repetition changes nothing.

    Raises:
        NotFound: there is no such job.
        NotPausable: it has ended, or is being cancelled.
    """
    job = jobs.get(session, job_id)
    transitions.pause(session, job_id, how if job.kind in EPOCHS else "latest")
    job = get_or_404(session, Job, job_id, populate_existing=True)
    if job.status not in (Status.PAUSING, Status.PAUSED):
        raise NotPausable(f"expected a job that is queued, starting or running, got one that is {job.status}")
    return job


def resume(session: Session, job_id: str) -> Job:
    """Queue a paused job again.

    Raises:
        NotFound: there is no such job.
        NotPaused: it is not paused (yet).
        QuotaExceeded: its owner has too many queued jobs, or stored too much.
    """
    resumed = transitions.resume(session, job_id)
    job = get_or_404(session, Job, job_id, populate_existing=True)
    if not resumed:
        raise NotPaused(f"expected a job that is paused, got one that is {job.status}")
    quotas.check_jobs(session, job.owner)
    return job


def change(session: Session, job_id: str, wanted: Change, if_match: str | None) -> Job:
    """Change fields of a job, if it still has the version that the caller knows.

    Args:
        session: the caller's transaction.
        job_id: the job.
        wanted: the fields to change; unset ones are kept.
        if_match: ETags that the job may have, or `*`.

    Raises:
        NotFound: there is no such job.
        IfMatchMissing: the caller does not name a version.
        PreconditionFailed: the job has another version by now.
        NotChangeable: the job has progressed too far.
        Invalid: the deadline has passed already.
    """
    if if_match is None:
        raise IfMatchMissing("expected the header If-Match with the job's ETag, or *, got none")
    job = jobs.get(session, job_id)
    columns = wanted.model_dump(exclude_unset=True)
    jobs.check_deadline(session, columns.get("deadline"))
    content = wanted.model_dump(mode="json", exclude_unset=True)
    columns.pop("labels", None)  # stored in the spec only
    if "timeout_seconds" in columns:
        columns["timeout_seconds"] = columns["timeout_seconds"] or 0
    for _ in range(TRIES):
        _check_match(if_match, job)
        _check_changeable(wanted, job)
        if not content or transitions.change(session, job, content, **columns):
            return job
    raise PreconditionFailed("expected the job to stay unchanged for a moment, but it keeps changing")


def _check_match(if_match: str, job: Job) -> None:
    """Compare only the version in the ETags, not the part that depends on the reasons why a queued job waits."""
    known = re.findall(r'"(\d{1,18})(?:-[0-9a-f]+)?"', if_match)
    if if_match.strip() != "*" and str(job.version) not in known:
        raise PreconditionFailed(f'expected If-Match: W/"{job.version}", got {if_match[:80]!r}: get the job again')


def _check_changeable(wanted: Change, job: Job) -> None:
    fields = wanted.model_fields_set
    if "priority" in fields and job.status not in (Status.QUEUED, Status.PAUSED):
        raise NotChangeable(f"priority: expected a job that is queued or paused, got one that is {job.status}")
    for field in sorted(fields & {"timeout_seconds", "deadline"}):
        if job.status == Status.SUCCEEDED:
            raise NotChangeable(f"{field}: expected a job that has not succeeded, got one that has")
