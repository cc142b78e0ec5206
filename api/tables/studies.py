"""Rows of studies: their jobs, and the role of each in the comparison."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now
from api.ownership import Owned


class Study(Owned, Base):
    """A study. Its state is that of its jobs."""

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # stu_<uuid7>: sorts by time
    name: Mapped[str] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]  # rdrkd.spec.study.Study, as posted, with later extensions
    # The job that trains the teacher, if any.
    teacher_job: Mapped[str | None] = mapped_column(ForeignKey("job.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())


class StudyMember(Base):
    """One method with one seed, and the job that trains it; a failed job can be replaced."""

    __tablename__ = "study_member"

    study_id: Mapped[str] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"), primary_key=True)
    method: Mapped[str] = mapped_column(String(64), primary_key=True)
    seed: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), index=True)


class StudyReference(Base):
    """A dataset, model or job that a study's own spec refers to."""

    __tablename__ = "study_reference"
    __table_args__ = (Index("ix_study_reference_on_id", "on_id", "study_id"),)

    study_id: Mapped[str] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"), primary_key=True)
    on_id: Mapped[str] = mapped_column(String(40), primary_key=True)


class StudyEnd(Base):
    """A note that a member of a study has ended, so that the reaper checks the study and deletes the note."""

    __tablename__ = "study_end"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # end_<uuid7>
    study_id: Mapped[str] = mapped_column(String(40))
