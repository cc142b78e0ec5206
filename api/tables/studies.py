"""Rows of studies: which jobs belong together, and what each of them is in the comparison."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now
from api.ownership import Owned


class Study(Owned, Base):
    """A study. It has no state of its own: that is its jobs'."""

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # stu_<uuid7>: sorts by time
    name: Mapped[str] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]  # rdrkd.spec.study.Study, as it was posted and extended since
    # That trains the teacher, where one does.
    teacher_job: Mapped[str | None] = mapped_column(ForeignKey("job.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())


class StudyMember(Base):
    """One method with one seed, and the job that trains it; when that has failed, another may take its place."""

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
