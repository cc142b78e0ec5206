"""Totals of jobs, attempts and bytes, whose cost to read does not grow with what they count.

Triggers (migration 0017) write each change of a counted row as a difference, in the transaction of the change. So
totals are exact, whoever writes, and transactions never wait for each other. `settle` merges the differences.
"""

from collections import Counter
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Index, Integer, String, delete, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.db import Base
from api.ownership import Owned

MOST = 10_000  # differences merged per transaction
# Names of totals, followed by statuses: jobs; jobs that have been started and ended, by kind; attempts that have ended.
JOB, TOOK, ATTEMPT = "job/", "took/", "attempt/"
FREE = "free"  # jobs that wait only for a worker
BYTES = ("datasets", "previews", "models", "model_files", "artifacts")


class Tally(Owned, Base):
    """A summand of a total, which is the sum of all rows of its name and owner."""

    __tablename__ = "tally"
    __table_args__ = (
        Index("ix_tally_loose", "id", sqlite_where=text("settled = 0"), postgresql_where=text("NOT settled")),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    what: Mapped[str] = mapped_column(String(80))
    number: Mapped[int] = mapped_column(BigInteger)  # of rows
    total: Mapped[int] = mapped_column(BigInteger)  # of their bytes or microseconds
    settled: Mapped[bool]  # it is a sum, not a difference


class Total(NamedTuple):
    """The number of rows, and the sum of their bytes or microseconds."""

    number: int
    total: int


def totals(session: Session, *conditions: ColumnElement[bool]) -> dict[str, Total]:
    """Return totals by name, of the session's owner or, without one, of all owners; zero totals are missing."""
    sums = select(Tally.what, func.sum(Tally.number), func.sum(Tally.total)).where(*conditions).group_by(Tally.what)
    return {what: Total(int(number), int(total)) for what, number, total in session.execute(sums) if number or total}


def by_owner(session: Session, *conditions: ColumnElement[bool]) -> dict[tuple[str | None, str], Total]:
    """Return totals by owner and name."""
    sums = select(Tally.owner, Tally.what, func.sum(Tally.number), func.sum(Tally.total)).where(*conditions)
    rows = session.execute(sums.group_by(Tally.owner, Tally.what))
    return {(owner, what): Total(int(number), int(total)) for owner, what, number, total in rows}


def settle(session: Session) -> int:
    """Add the oldest differences to their sums; return how many there were."""
    loose = select(Tally.id).where(~Tally.settled).order_by(Tally.id).limit(MOST)
    if session.scalar(loose.limit(1)) is None:
        return 0  # skip the write, which would block other writers on SQLite
    taken = delete(Tally).where(Tally.id.in_(loose)).returning(Tally.what, Tally.owner, Tally.number, Tally.total)
    rows = session.execute(taken.execution_options(synchronize_session=False)).all()
    numbers, sums = Counter[tuple[str, str | None]](), Counter[tuple[str, str | None]]()
    for what, owner, number, total in rows:
        numbers[what, owner] += number
        sums[what, owner] += total
    names = {what for what, _ in sums}
    settled = select(Tally.what, Tally.owner, func.min(Tally.id)).where(Tally.settled, Tally.what.in_(names))
    known = {(what, owner): id_ for what, owner, id_ in session.execute(settled.group_by(Tally.what, Tally.owner))}
    for what, owner in sorted(sums, key=str):  # in a fixed order, else two reapers could deadlock
        number, total = numbers[what, owner], sums[what, owner]
        if (id_ := known.get((what, owner))) is None:
            session.add(Tally(what=what, owner=owner, number=number, total=total, settled=True))
        elif number or total:
            more = {"number": Tally.number + number, "total": Tally.total + total}
            session.execute(update(Tally).where(Tally.id == id_).values(more))
    session.flush()
    return len(rows)
