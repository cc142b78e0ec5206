"""The database: engine, declarative base, ids, the server's clock, and one transaction per unit of work."""

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    Float,
    MetaData,
    ScalarSelect,
    create_engine,
    event,
    select,
)
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import JSON, TypeDecorator
from uuid6 import uuid7

T = TypeVar("T")
log = logging.getLogger(__name__)

_IDLE = 30  # seconds that a transaction may be idle on PostgreSQL
_PATIENCE = 30.0  # seconds to wait for SQLite's locks
_MOST = 30  # connections of one engine to PostgreSQL, idle or busy


class Base(DeclarativeBase):
    """Base class of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, timezone-aware in Python on every database (SQLite stores it naive)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC for storage."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored time as UTC."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class now(FunctionElement[datetime]):  # noqa: N801 - reads like the SQL function it is
    """The database server's clock, by which all leases are judged, never a worker's."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return "clock_timestamp()"


@compiles(now)
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    # The text form that SQLAlchemy's DateTime stores on SQLite, so that the two compare as strings.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


class after_seconds(FunctionElement[datetime]):  # noqa: N801 - reads like the SQL function it is
    """`after_seconds(s)`: the server's clock plus `s` seconds (negative: ago)."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(after_seconds, "postgresql")
def _after_postgresql(element: after_seconds, compiler: Any, **kw: Any) -> str:
    return f"clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)})"


@compiles(after_seconds)
def _after_sqlite(element: after_seconds, compiler: Any, **kw: Any) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {compiler.process(element.clauses, **kw)} || ' seconds')"


def moment(clock: FunctionElement[datetime]) -> ScalarSelect[datetime]:
    """Return a time of the server's clock that a condition can look up in an index: evaluated once, not for each row.

    >>> from sqlalchemy.dialects import postgresql
    >>> str(moment(now()).compile(dialect=postgresql.dialect())).startswith("(SELECT clock_timestamp()")
    True
    """
    return select(clock).scalar_subquery()


class seconds_between(FunctionElement[float]):  # noqa: N801 - reads like the SQL function it is
    """`seconds_between(a, b)`: from moment `a` to moment `b`."""

    type = Float()
    inherit_cache = True


@compiles(seconds_between, "postgresql")
def _between_postgresql(element: seconds_between, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"extract(epoch FROM {end} - {start})"


@compiles(seconds_between)
def _between_sqlite(element: seconds_between, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


def new_id(prefix: str) -> str:
    """Return a fresh id that sorts by time: `job_` + 32 hex digits of a UUIDv7."""
    return f"{prefix}_{uuid7().hex}"


def make_engine(url: str, kept: int = 10, most: int | None = None) -> Engine:
    """Open an engine; on SQLite with WAL, foreign keys and a lock timeout.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`.
        kept: idle connections to PostgreSQL to keep open; more are opened on demand.
        most: largest number of open connections, also to SQLite; all of them are kept.
    """
    pool: dict[str, Any] = {} if most is None else {"pool_size": most, "max_overflow": 0}
    if not url.startswith("sqlite"):
        # A server that vanishes must cause an error within seconds, because leases are renewed through this connection.
        # And a worker that freezes within a transaction must not lock its row against the reaper for ever.
        patience: dict[str, Any] = {
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "tcp_user_timeout": 20_000,
        }
        # No statement runs for long, so JIT compilation (up to 2 s with many queued jobs) never pays off. UTC, whatever
        # the server's own zone: in another one the last hours of 9999 may be in a year that Python has no date for.
        settings = {"idle_in_transaction_session_timeout": f"{_IDLE}s", "jit": "off", "timezone": "UTC"}
        patience["options"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
        pool = pool or {"pool_size": kept, "max_overflow": _MOST - kept}
        return create_engine(url, hide_parameters=True, connect_args=patience, **pool)
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _PATIENCE}, **pool)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        _use_wal(connection)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock. SQLite's own wait sleeps up to 0.1 s at a time, so a busy process would starve others."""
    end = time.monotonic() + _PATIENCE
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(random.uniform(0.001, 0.005))
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * _PATIENCE)}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, for which SQLite does not wait for a lock, as when two processes open a new file."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.02)


class Database:
    """An engine with its sessions."""

    def __init__(self, url: str, kept: int = 10, admitted: int | None = None) -> None:
        """Open it.

        Args:
            url: as for `make_engine`.
            kept: likewise.
            admitted: largest number of open connections. Transactions are then opened only in threads that run `admit`,
                one per thread, so that a holder of a connection never waits for another connection or a thread.
        """
        self.engine = make_engine(url, kept, admitted)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._reading = self._sessions
        if self.engine.dialect.name == "postgresql":
            autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            self._reading = sessionmaker(autocommit, expire_on_commit=False)
            event.listen(self.engine, "checkout", self._check)
        self._limited, self._thread = admitted is not None, threading.local()

    def admit(self, work: Callable[[], T]) -> T:
        """Run `work` in this thread, which may then open transactions, and must end each of them."""
        self._thread.free = True
        try:
            return work()
        finally:
            left_open, self._thread.free = not self._thread.free, False
            if left_open:
                raise RuntimeError("expected a transaction that ends in its thread, got one that is still open")

    def read(self, work: Callable[[], T]) -> T:
        """Run `work`, which opens its own sessions and only reads; repeat it if its connection is broken.

        A read therefore need not test its connection first, which would double its round trips.
        """
        self._thread.trusts = True
        try:
            return work()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            log.info("a database connection was lost; repeating the read: %s", error.orig)
        finally:
            self._thread.trusts = False
        return work()

    def _check(self, connection: Any, _record: object, _proxy: object) -> None:
        """Let the pool replace a connection that broke while it was idle."""
        if getattr(self._thread, "trusts", False):
            return
        dialect = self.engine.dialect
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    @contextmanager
    def transaction(self, write: bool = False) -> Iterator[Session]:
        """One unit of work: commit at the end, roll back on any error.

        Args:
            write: take SQLite's write lock at the start, so that a transaction that reads before it writes never fails
                because another one has written in between.
        """
        with self._one_at_a_time(), self._sessions.begin() as session:
            if write and self.engine.dialect.name == "sqlite":
                _begin_immediate(session.connection())
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that only reads.

        On PostgreSQL each statement commits by itself, which saves the round trips of BEGIN and COMMIT. Nothing is
        lost: with READ COMMITTED, each statement in a transaction also has its own snapshot. Only a server-side cursor
        (`yield_per`) needs a transaction.
        """
        with self._one_at_a_time(), self._reading.begin() as session:
            yield session

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._limited:
            yield
            return
        if not getattr(self._thread, "free", False):
            raise RuntimeError("expected a thread of `api.http.admission` without an open transaction, got another")
        self._thread.free = False
        try:
            yield
        finally:
            self._thread.free = True


__all__ = [
    "Base",
    "Database",
    "UtcDateTime",
    "after_seconds",
    "make_engine",
    "moment",
    "new_id",
    "now",
    "seconds_between",
]
