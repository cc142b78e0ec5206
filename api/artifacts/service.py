"""Which of a job's files is handed out. Functions take the request's session and never commit."""

from sqlalchemy.orm import Session

from api.errors import NotReady
from api.jobs import service as jobs
from api.jobs.dependencies import newest_weights
from api.jobs.tables import Artifact, Job


def weights(session: Session, job_id: str, name: str) -> tuple[Job, Artifact]:
    """Find the newest weights that a job has published, as a file of this name.

    Raises:
        NotFound: there is no such job.
        NotReady: it has written no checkpoint yet.
    """
    job = jobs.get(session, job_id)
    artifact = newest_weights(session, job_id, name)
    if artifact is None:
        raise NotReady(f"expected a job that has written a checkpoint, got one that is {job.status} without any")
    return job, artifact
