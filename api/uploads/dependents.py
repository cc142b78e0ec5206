"""References to a dataset, a model or a job, which prevent its deletion."""

from sqlalchemy import Select, func, select, union_all
from sqlalchemy.orm import Session, aliased

from api.ownership import EVERYBODYS
from api.tables.jobs import Job, JobDependency
from api.tables.models import ModelAlias
from api.tables.states import TERMINAL, Status
from api.tables.studies import Study, StudyMember, StudyReference

SHOWN = 3  # ids of dependants to show
MOST = 100  # dependants to count


def of_upload(session: Session, upload_id: str) -> str | None:
    """Describe the jobs, studies or aliases that refer to a dataset or model, in any state; None without any."""
    return (
        _named(session, _jobs(upload_id), "the spec of")
        or _named(session, _studies(upload_id), "the spec of")
        or _named(session, select(ModelAlias.alias).where(ModelAlias.model_id == upload_id), "the alias")
    )


def of_job(session: Session, job: Job, keep_weights: bool) -> str | None:
    """Describe what needs a job; None if nothing does.

    Args:
        session: the caller's transaction.
        job: a job that has ended or is paused.
        keep_weights: its weights are kept, so ignore dependants that need only these.
    """
    taught = aliased(Study)
    studies = union_all(
        select(taught.id).where(taught.teacher_job == job.id),
        select(StudyMember.study_id).where(StudyMember.job_id == job.id),
    )
    active = (Job.id != job.id, Job.status.not_in(TERMINAL))
    wants: list[tuple[Select[str], str]] = [
        (select(Study.id).where(Study.id.in_(studies)), "the study"),
        (select(Job.id).where(*active, Job.continues == job.id), "its successor"),
        (_report(job), "the newest report of"),
    ]
    if not keep_weights:
        wants += [
            (_jobs(job.id, active=True), "the spec of"),
            (_studies(job.id), "the spec of"),
        ]
    return next((found for query, what in wants if (found := _named(session, query, what))), None)


def _report(job: Job) -> Select[str]:
    """Return the study whose newest report this job has drawn: without the job, it would be drawn again."""
    newer = select(Job.id).where(Job.study == Study.id, Job.id > job.id, Job.status == Status.SUCCEEDED)
    return select(Study.id).where(Study.id == job.study, ~newer.exists())


def _jobs(on_id: str, active: bool = False) -> Select[str]:
    """Return the jobs whose spec refers to a dataset, model or job, up to the number that is counted.

    Args:
        on_id: id of the dataset, model or job.
        active: only jobs that have not ended.
    """
    dependants = select(JobDependency.job_id).where(JobDependency.on_id == on_id)
    if active:  # not a join, for which PostgreSQL may read all active jobs instead of the few that refer to it
        status = select(Job.status).where(Job.id == JobDependency.job_id).scalar_subquery()
        dependants = dependants.where(status.not_in(TERMINAL))
    some = dependants.order_by(JobDependency.job_id).limit(MOST + 1).subquery()
    return select(Job.id).join(some, some.c.job_id == Job.id)


def _studies(on_id: str) -> Select[str]:
    """Return the studies whose own spec refers to a dataset, model or job."""
    return (
        select(Study.id).join(StudyReference, StudyReference.study_id == Study.id).where(StudyReference.on_id == on_id)
    )


def _named(session: Session, query: Select[str], what: str) -> str | None:
    """List the caller's own results of a query, and count those of others."""
    some = query.limit(MOST + 1).subquery()
    number = session.scalar(select(func.count()).select_from(some), execution_options=EVERYBODYS) or 0
    if not number:
        return None
    ids: list[str] = list(session.scalars(query.limit(SHOWN)))
    named = [", ".join(ids)] if ids else []
    count = f"over {MOST}" if number > MOST else str(number - len(ids))
    rest = [f"{count} more" if ids else f"{count} of another owner"] if number > len(ids) else []
    return f"{what} {' and '.join(named + rest)}"
