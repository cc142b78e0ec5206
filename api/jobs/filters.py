"""Filters of the list of jobs, in addition to status, kind and labels."""

from datetime import datetime

from sqlalchemy import ColumnElement, select, union_all
from sqlalchemy.orm import aliased

from api.tables.jobs import Job
from api.tables.studies import Study, StudyMember


def conditions(
    name: str | None, created_after: datetime | None, created_before: datetime | None, study: str | None
) -> list[ColumnElement[bool]]:
    """Return the SQL conditions of these filters; None means no restriction.

    Args:
        name: the exact name.
        created_after: created at or after this time.
        created_before: created before this time (exclusive).
        study: id of the study whose teacher, member or report the job is.
    """
    wanted: list[ColumnElement[bool]] = []
    if name is not None:
        wanted.append(Job.name == name)
    if created_after is not None:
        wanted.append(Job.created_at >= created_after)
    if created_before is not None:
        wanted.append(Job.created_at < created_before)
    if study is not None:
        members = select(StudyMember.job_id).where(StudyMember.study_id == study)
        teacher = select(Study.teacher_job).where(Study.id == study)
        report = aliased(Job)
        wanted.append(Job.id.in_(union_all(members, teacher, select(report.id).where(report.study == study))))
    return wanted
