"""Trainers' logs, stored in pieces of whole lines; each attempt keeps its newest `MOST` characters. Never commits."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Select, SQLColumnExpression, and_, delete, or_, select
from sqlalchemy.orm import Session

from api.tables.logs import JobLog

MOST = 2**20  # characters per attempt
PIECE = 2**15  # characters of a row at most, and of a line
ANSWER, ROWS = 2**19, 5000  # characters and pieces of a response


@dataclass(frozen=True, order=True)
class Cursor:
    """A position in a job's logs: after this piece of this attempt.

    >>> str(Cursor.of("2-17")), Cursor.of("2-17") < Cursor(3, 1)
    ('2-17', True)
    """

    attempt: int = 0
    number: int = 0

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a cursor."""
        attempt, number = text.split("-")
        return cls(int(attempt), int(number))

    def __str__(self) -> str:
        return f"{self.attempt}-{self.number}"


def append(session: Session, job_id: str, attempt: int, text: str) -> None:
    """Add lines to an attempt's log, and drop its oldest pieces beyond the limit.

    The caller has locked the job's row, so no other transaction adds to the same log meanwhile.
    """
    own = (JobLog.job_id == job_id, JobLog.attempt == attempt)
    places = select(JobLog.number, JobLog.start, JobLog.size).where(*own)
    last = session.execute(places.order_by(JobLog.number.desc()).limit(1)).one_or_none()
    number, end = (last.number, last.start + last.size) if last is not None else (0, 0)
    for piece in pieces(text):
        number += 1
        session.add(JobLog(job_id=job_id, attempt=attempt, number=number, start=end, size=len(piece), text=piece))
        end += len(piece)
    session.flush()
    first = session.execute(places.order_by(JobLog.number).limit(1)).one_or_none()
    if first is not None and first.start < end - MOST:
        session.execute(delete(JobLog).where(*own, JobLog.start < end - MOST))


def after(session: Session, job_id: str, cursor: Cursor, attempt: int | None = None) -> tuple[list[JobLog], bool]:
    """Read the pieces after a position, as many as fit in a response, and whether there are more.

    Args:
        session: the caller's transaction.
        job_id: the job.
        cursor: the position.
        attempt: read only this attempt; None: all.
    """
    later = or_(JobLog.attempt > cursor.attempt, and_(JobLog.attempt == cursor.attempt, JobLog.number > cursor.number))
    return _read(session, _of(job_id, attempt).where(later), (JobLog.attempt, JobLog.number))


def tail(session: Session, job_id: str, lines: int, attempt: int | None = None) -> list[JobLog]:
    """Read the last `lines` lines, as many as fit in a response; the first piece may be truncated."""
    newest_first = (JobLog.attempt.desc(), JobLog.number.desc())
    rows, _ = _read(session, _of(job_id, attempt), newest_first, min(lines, ROWS))  # a piece has at least one line
    found: list[JobLog] = []
    for row in rows:
        session.expunge(row)  # truncated for this response only
        row.text = "\n".join(row.text.split("\n")[-lines - 1 :])
        found.append(row)
        lines -= row.text.count("\n")
        if lines <= 0:
            break
    return found[::-1]


def _of(job_id: str, attempt: int | None) -> Select[JobLog]:
    own = select(JobLog).where(JobLog.job_id == job_id)
    return own if attempt is None else own.where(JobLog.attempt == attempt)


def _read(
    session: Session, query: Select[JobLog], order: Sequence[SQLColumnExpression[int]], most: int = ROWS
) -> tuple[list[JobLog], bool]:
    """Read the first `ANSWER` characters of a query's pieces, at most `most` of them; return also whether it has more.

    The sizes are read first, so that the database sends only the text for the response. That needs no server-side
    cursor, and so no transaction.
    """
    query = query.order_by(*order)
    sizes = session.scalars(query.with_only_columns(JobLog.size).limit(most + 1)).all()
    fitting = sum(total <= ANSWER for total in itertools.accumulate(sizes[:most]))
    return list(session.scalars(query.limit(fitting))) if fitting else [], fitting < len(sizes)


def pieces(text: str) -> Iterator[str]:
    r"""Split lines into pieces of at most `PIECE` characters; truncate longer lines.

    >>> [len(piece) for piece in pieces("x" * 20_000 + "\n" + "y" * 20_000 + "\n" + "z")]
    [20001, 20003]
    """
    piece = ""
    for line in text.removesuffix("\n").split("\n"):
        whole = (line if len(line) < PIECE else line[: PIECE - 2] + "…") + "\n"
        if len(piece) + len(whole) > PIECE:
            yield piece
            piece = ""
        piece += whole
    if piece:
        yield piece


def follows(row: JobLog, cursor: Cursor) -> bool:
    """Return whether nothing was dropped between a position and the next piece."""
    before = cursor.number if row.attempt == cursor.attempt else 0
    return row.number == before + 1


def with_gaps(rows: Sequence[JobLog], cursor: Cursor) -> Iterator[tuple[JobLog, bool]]:
    """Yield each piece, and whether lines of its attempt were dropped between the last position and the piece."""
    for row in rows:
        yield row, not follows(row, cursor)
        cursor = Cursor(row.attempt, row.number)
