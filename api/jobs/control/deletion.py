"""Deleting jobs: rows first, then files. Functions take the request's session and never commit."""

from sqlalchemy import Table, delete, select
from sqlalchemy.orm import Session

from api.db import Base
from api.errors import InUse, NotEnded
from api.jobs import lifecycle
from api.jobs import service as jobs
from api.jobs.control import transitions
from api.pagination import get_or_404
from api.storage import deletions
from api.tables.job_inputs import newest_weights, user_of
from api.tables.jobs import Artifact, Job, JobDependency
from api.tables.states import DELETABLE, Status
from api.uploads import dependents

WEIGHTS = ("student.pt", "student.safetensors")


def delete_job(session: Session, job_id: str) -> list[str]:
    """Delete a job with everything that it produced; return the records of the files to delete after the commit.

    Raises:
        NotFound: there is no such job.
        NotEnded: it has not ended and is not paused.
        InUse: something needs it.
    """
    job = _deletable(session, job_id, keep_weights=False)
    keys = session.scalars(select(Artifact.key).where(Artifact.job_id == job_id)).all()
    if not transitions.delete(session, job):
        job = get_or_404(session, Job, job_id, populate_existing=True)
        raise NotEnded(f"expected an unchanged job, but it has meanwhile become {job.status}")
    if user_of(session, job_id, active=True) is not None:  # it held the row until it was committed
        raise InUse("expected a job that nothing refers to, but another job has just referred to it")
    return deletions.note(session, [*keys, f"jobs/{job_id}"])  # the folder, too: killed attempts leave more


def strip_job(session: Session, job_id: str) -> tuple[Job, list[str]]:
    """Delete everything that a job produced except its newest weights; return it, and the records of files to delete.

    The job's row stays, because the weights belong to it; a paused job is cancelled.

    Raises:
        NotFound, NotEnded, InUse: as for `delete_job`.
    """
    job = _deletable(session, job_id, keep_weights=True)
    if job.status == Status.PAUSED:
        lifecycle.request_cancel(session, job_id)
        session.refresh(job)
    if not transitions.strip(session, job):
        raise NotEnded(f"expected an unchanged job, but it has meanwhile become {job.status}")
    kept = [row.id for name in WEIGHTS if (row := newest_weights(session, job_id, name)) is not None]
    for table in _of_jobs():
        session.execute(delete(table).where(table.c.job_id == job_id))
    gone = delete(Artifact).where(Artifact.job_id == job_id, Artifact.id.not_in(kept)).returning(Artifact.key)
    return job, deletions.note(session, session.scalars(gone.execution_options(synchronize_session=False)))


def _deletable(session: Session, job_id: str, keep_weights: bool) -> Job:
    job = jobs.get(session, job_id)
    if job.status not in DELETABLE:
        raise NotEnded(f"expected a job that has ended or is paused, got one that is {job.status}")
    if (user := dependents.of_job(session, job, keep_weights)) is not None:
        raise InUse(f"expected a job that nothing refers to, but it is needed by {user}")
    return job


def _of_jobs() -> list[Table]:
    """Return the tables whose rows are deleted with their job, except the table of its files."""
    return [
        table
        for table in Base.metadata.sorted_tables
        if table not in (Artifact.__table__, JobDependency.__table__)  # dependencies are kept for a retry
        and any(key.column.table is Job.__table__ and key.ondelete == "CASCADE" for key in table.foreign_keys)
    ]
