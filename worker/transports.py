"""Kombu transports for wake-up messages: acknowledge nothing, and log and drop entries that are not messages.

`worker.app` consumes with `no_ack`, so a message leaves the queue when it is read. Celery acknowledges it nevertheless,
with a call to the broker that can fail; these transports omit the call. They also drop invalid entries, one of which
would otherwise end Celery's consumer.
"""

import logging
import sqlite3
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, sqlalchemy
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

NO_MESSAGE = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
)  # what parsing an invalid entry raises


def use() -> None:
    """Make every connection of this process use the transports of this module."""
    for alias, transport in {"redis": "Redis", "rediss": "Redis", "sqla": "Sql", "sqlalchemy": "Sql"}.items():
        TRANSPORT_ALIASES[alias] = f"{__name__}:{transport}"


class _Patient:
    """A transport that drops what it cannot deliver."""

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - an entry may hold anything
            log.error("dropped an entry of the queue %s that is not a wake-up (%r): %.200r", queue, error, message)


class _Unacknowledged:
    """A channel without acknowledgements."""

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        """Do nothing: the message is no longer in the queue."""

    def basic_reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Do nothing, as for one message."""


class RedisChannel(_Unacknowledged, redis.Channel):
    """A channel of Redis or Valkey that drops what is not JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError) as error:
            log.error("dropped an entry of a queue that is not a message: %r", error)
            raise Empty from None


class Redis(_Patient, redis.Transport):
    """Redis or Valkey. After any error that the server returns, Celery reconnects.

    By default, Celery reconnects only if the connection is lost, and ends after other errors. But a server that becomes
    a replica in a failover rejects writes, and one that restarts may lack memory or disk space, or have a new password.
    """

    Channel = RedisChannel
    connection_errors = (*redis.Transport.connection_errors, RedisError)


class SqlChannel(_Unacknowledged, sqlalchemy.Channel):
    """A channel of a SQL database. Polling an SQLite file that has not changed needs no query and no lock."""

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)  # type: ignore[no-untyped-call]
        self._peek: Any = None  # a separate connection, since `data_version` counts the writes of others
        self._empty: dict[Any, Any] = {}  # the version at which each queue was last seen empty

    def _get(self, queue: Any, timeout: Any = None) -> Any:
        version = self._version()
        if version is not None and self._empty.get(queue) == version:
            raise Empty
        while True:
            try:
                return super()._get(queue)  # type: ignore[no-untyped-call]
            except NO_MESSAGE as error:
                log.error("dropped an entry of the queue %s that is not a message: %r", queue, error)
            except Empty:
                if version is not None:
                    self._empty[queue] = version
                raise

    def _version(self) -> Any:
        """Return a value that changes with every write to the file; None for other databases."""
        if self._peek is None:
            engine = self._open()[0]  # type: ignore[no-untyped-call]
            if engine.dialect.name != "sqlite":
                return None
            self._peek = engine.raw_connection()
        try:
            return self._peek.cursor().execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:  # locked or missing: the poll itself will raise the error that Celery expects
            return None

    def close(self) -> None:
        """Close the channel and its connections."""
        if self._peek is not None:
            self._peek.close()
            self._peek = None
        super().close()  # type: ignore[no-untyped-call]


class Sql(_Patient, sqlalchemy.Transport):
    """A SQL database. After any of its errors, Celery reconnects."""

    Channel = SqlChannel
    connection_errors = (*sqlalchemy.Transport.connection_errors, DBAPIError)  # type: ignore[assignment]
