"""Deleting studies with their jobs: rows first, then files. Functions take the request's session and never commit."""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from api.errors import NotEnded
from api.jobs.control.deletion import delete_job
from api.studies import service as studies
from api.tables.jobs import Job
from api.tables.states import DELETABLE
from api.tables.studies import Study


def delete_study(session: Session, study_id: str) -> list[str]:
    """Delete a study with its jobs; return the records of the files to delete after the commit.

    Raises:
        NotFound: there is no such study.
        NotEnded: one of its jobs has neither ended nor been paused.
        InUse: something else needs one of its jobs.
    """
    study = studies.held(session, study_id)
    jobs = list(_jobs_of(session, study))
    if active := sum(job.status not in DELETABLE for job in jobs):
        raise NotEnded(f"expected a study whose jobs have ended or are paused, got one with {active} that have not")
    session.delete(study)
    session.flush()  # from here on, the study itself needs none of its jobs
    return [note for job in jobs for note in delete_job(session, job.id)]


def _jobs_of(session: Session, study: Study) -> Iterator[Job]:
    """Yield the study's jobs, dependants first: reports, members, the teacher."""
    yield from studies.reports(session, study.id)
    for job in reversed(studies.members_of(session, study).jobs):
        step: Job | None = job
        while step is not None:  # and the jobs that it replaced
            yield step
            step = session.get(Job, step.continues) if step.continues is not None else None
