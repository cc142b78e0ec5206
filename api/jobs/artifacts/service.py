"""Find the file of a job to serve. Functions take the request's session and never commit."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import NotFound, NotReady
from api.jobs import service as jobs
from api.tables.job_inputs import NEWEST_FIRST, STATE, newest_weights
from api.tables.jobs import Artifact, Job
from rdrkd.suggestion import suggestion


def newest(session: Session, job_id: str) -> tuple[Job, list[Artifact]]:
    """Read the newest version of every published file of a job, by name, except its resume state.

    Raises:
        NotFound: there is no such job.
    """
    job = jobs.get(session, job_id)
    published = select(Artifact).where(Artifact.job_id == job_id, Artifact.name != STATE).order_by(*NEWEST_FIRST)
    files: dict[str, Artifact] = {}
    for row in session.scalars(published):
        files.setdefault(row.name, row)
    return job, [files[name] for name in sorted(files)]


def named(session: Session, job_id: str, name: str) -> tuple[Job, Artifact]:
    """Find the newest version of the file that a job has published under a name.

    The name is compared here: it reaches neither a path nor the database, which refuses some strings altogether.

    Raises:
        NotFound: there is no such job, or it has published other files only.
        NotReady: it has published none yet.
    """
    job, files = newest(session, job_id)
    if not files:
        raise NotReady(f"expected a job that has published a file, got one that is {job.status} and has none")
    for artifact in files:
        if artifact.name == name:
            return job, artifact
    names = [artifact.name for artifact in files]
    raise NotFound(
        f"expected the name of a file that the job has published ({', '.join(names)}), got another name"
        f"{suggestion(name, names)}"
    )


def weights(session: Session, job_id: str, name: str) -> tuple[Job, Artifact]:
    """Find the newest weights that a job has published, as a file of this name; a refusal names its other files.

    Raises:
        NotFound: there is no such job.
        NotReady: it has written no checkpoint yet.
    """
    if (artifact := newest_weights(session, job_id, name)) is not None:
        return jobs.get(session, job_id), artifact
    job, files = newest(session, job_id)
    others = f", but these files: {', '.join(file.name for file in files)}" if files else ""
    raise NotReady(f"expected a job that has written a checkpoint, got one that is {job.status} and has none{others}")
