"""Record that members of studies have ended, so that the reaper checks only these studies."""

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from api.db import new_id
from api.tables.studies import StudyEnd, StudyMember


def note(session: Session, job_ids: Sequence[str]) -> None:
    """Record that jobs have ended, for the studies of which they are members."""
    studies = session.scalars(select(StudyMember.study_id).where(StudyMember.job_id.in_(job_ids)).distinct()).all()
    if studies:
        session.execute(insert(StudyEnd), [{"id": new_id("end"), "study_id": study_id} for study_id in studies])
