"""Who needs a dataset, a model or a job: what is needed is not deleted."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.ownership import EVERYBODYS
from api.tables.jobs import Job
from api.tables.models import ModelAlias
from api.tables.states import TERMINAL, Status
from api.tables.studies import Study, StudyMember
from rdrkd.spec.referring import OF_A_JOB, OF_A_STUDY

Spec = InstrumentedAttribute[dict[str, Any]]
SHOWN = 3  # ids of those that need it


def of_upload(session: Session, upload_id: str) -> str | None:
    """Return which jobs, studies or aliases name a dataset or model, in any state; None where there are none."""
    return (
        _named(session, select(Job.id).where(_uploaded(Job.spec, OF_A_JOB, upload_id)), "the spec of")
        or _named(session, select(Study.id).where(_uploaded(Study.spec, OF_A_STUDY, upload_id)), "the spec of")
        or _named(session, select(ModelAlias.alias).where(ModelAlias.model_id == upload_id), "the alias")
    )


def of_job(session: Session, job: Job, keep_weights: bool) -> str | None:
    """Return what needs a job; None where nothing does.

    Args:
        session: the caller's transaction.
        job: one that has ended, or is paused.
        keep_weights: its weights stay, so whoever needs these alone does not count.
    """
    member = select(StudyMember.job_id).where(StudyMember.study_id == Study.id, StudyMember.job_id == job.id).exists()
    going_on = (Job.id != job.id, Job.status.not_in(TERMINAL))
    wants: list[tuple[Select[str], str]] = [
        (select(Study.id).where(or_(Study.teacher_job == job.id, member)), "the study"),
        (select(Job.id).where(*going_on, Job.continues == job.id), "its successor"),
        (_report(job), "the newest report of"),
    ]
    if not keep_weights:
        wants += [
            (select(Job.id).where(*going_on, _trained(Job.spec, OF_A_JOB, job.id)), "the spec of"),
            (select(Study.id).where(_trained(Study.spec, OF_A_STUDY, job.id)), "the spec of"),
        ]
    return next((found for query, what in wants if (found := _named(session, query, what))), None)


def _report(job: Job) -> Select[str]:
    """Return the study whose newest report this job is: without it the report would be drawn again."""
    own = (Job.kind == job.kind, Job.spec["study"].as_string() == Study.id)
    newer = select(Job.id).where(*own, Job.id > job.id, Job.status == Status.SUCCEEDED)
    return select(Study.id).where(Study.id == job.spec.get("study"), ~newer.exists())


def _uploaded(spec: Spec, models: Sequence[str], upload_id: str) -> ColumnElement[bool]:
    """Return the SQL condition that a spec's own fields name a dataset or model; labels and other text are no names."""
    return or_(spec["dataset"].as_string() == upload_id, *(_at(spec, field, "model") == upload_id for field in models))


def _trained(spec: Spec, models: Sequence[str], job_id: str) -> ColumnElement[bool]:
    """Return the SQL condition that one of a spec's model fields names a job."""
    return or_(*(_at(spec, field, "job") == job_id for field in models))


def _at(spec: Spec, field: str, key: str) -> ColumnElement[str]:
    found: ColumnElement[str] = spec[(*field.split("/"), key)].as_string()
    return found


def _named(session: Session, query: Select[str], what: str) -> str | None:
    """Name the caller's own that a query finds, and count everybody's."""
    number = session.scalar(select(func.count()).select_from(query.subquery()), execution_options=EVERYBODYS) or 0
    if not number:
        return None
    ids: list[str] = list(session.scalars(query.limit(SHOWN)))
    named = [", ".join(ids)] if ids else []
    rest = [f"{number - len(ids)} more" if ids else f"{number} of another owner"] if number > len(ids) else []
    return f"{what} {' and '.join(named + rest)}"
