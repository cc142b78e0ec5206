"""Logs as the API shows them."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, Field

from api.jobs.logs.service import Cursor, with_gaps
from api.tables.logs import JobLog
from api.timestamps import Timestamp


class LogPiece(BaseModel):
    """Some lines of an attempt's log."""

    attempt: int
    number: int = Field(description="number of the piece within its attempt: 1, 2, ...")
    at: Timestamp = Field(description="time when the worker sent it")
    dropped: bool = Field(description="whether older lines between this piece and the previous one have been dropped")
    text: str = Field(description="whole lines, without paths of the worker's machine")


class LogPage(BaseModel):
    """Pieces of a job's logs, oldest first."""

    data: list[LogPiece]
    has_more: bool
    next: str = Field(description="value of `after` to continue, now or later", examples=["2-17"])


def pieces(rows: Sequence[JobLog], cursor: Cursor) -> list[LogPiece]:
    """Build the view of the pieces after a position."""
    return [
        LogPiece(attempt=row.attempt, number=row.number, at=row.at, dropped=dropped, text=row.text)
        for row, dropped in with_gaps(rows, cursor)
    ]


def as_text(shown: Sequence[LogPiece]) -> str:
    """Join pieces to one text, with a line that marks dropped lines."""
    return "".join(_texts(shown))


def _texts(shown: Sequence[LogPiece]) -> Iterator[str]:
    for piece in shown:
        if piece.dropped:
            yield f"[older lines of attempt {piece.attempt} were dropped]\n"
        yield piece.text
