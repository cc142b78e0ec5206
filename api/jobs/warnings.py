"""Warnings of a job's trainers: each one once per attempt with a count, limited in number and length.

The trainer reads untrusted files, so a run may issue any number of warnings with any text. Callers hold the job's row
(the fenced UPDATE has locked it), so no other transaction adds a warning to the same job at the same time.
"""

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from api.tables.jobs import JobWarning

MOST = 200  # per job, over all attempts
LONGEST_CODE, LONGEST_MESSAGE = 100, 500  # characters: the columns' width
MORE = "more_warnings"  # code of the last entry, which counts warnings beyond the limit


def add(session: Session, job_id: str, attempt: int, code: str, message: str, epoch: int | None) -> JobWarning | None:
    """Store and return a warning; return None if it is only counted: a repetition, or beyond the limit."""
    code, message = _fit(code, LONGEST_CODE), _fit(message, LONGEST_MESSAGE)
    if _counted(session, job_id, attempt=attempt, code=code, message=message):
        return None
    number = 1 + (session.scalar(select(func.max(JobWarning.number)).where(JobWarning.job_id == job_id)) or 0)
    if number > MOST:
        if _counted(session, job_id, number=MOST + 1):
            return None
        code, epoch = MORE, None
        message = f"there were more than {MOST} different warnings; the others are counted here only"
    row = JobWarning(job_id=job_id, number=number, attempt=attempt, count=1)
    row.code, row.message, row.epoch = code, message, epoch
    session.add(row)
    return row


# Built once: every poll uses it, and building it takes longer than reading no rows.
_OF = select(JobWarning).where(JobWarning.job_id == bindparam("job")).order_by(JobWarning.number)


def of(session: Session, job_id: str) -> list[JobWarning]:
    """Return a job's warnings in the order of their first occurrence."""
    return list(session.scalars(_OF, {"job": job_id}))


def _counted(session: Session, job_id: str, **which: str | int) -> bool:
    """Increment the count of a warning; return False if it is not stored yet."""
    again = update(JobWarning).filter_by(job_id=job_id, **which).values(count=JobWarning.count + 1)
    return session.scalar(again.returning(JobWarning.number)) is not None


def _fit(text: str, most: int) -> str:
    r"""Truncate a text, and replace NUL, which PostgreSQL cannot store.

    >>> _fit("a\0b", 5), _fit("too long", 5)
    ('a\ufffdb', 'too …')
    """
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= most else text[: most - 1] + "…"
