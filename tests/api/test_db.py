"""How databases are opened."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from api.db import Database, make_engine
from api.http import admission
from tests.servers import Postgres, Valkey

ROOT = Path(__file__).parents[2]
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_a_new_database_is_opened_while_another_connection_writes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "rdrkd.db"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, writer.execute, ["COMMIT"])
    release.start()
    engine = make_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    finally:
        release.join()
        writer.close()
        engine.dispose()


def test_a_transaction_that_its_program_has_left_alone_is_ended_by_postgres(postgres: Postgres) -> None:
    """Else a frozen worker would keep the row of its job from the reaper."""
    with postgres.database() as url:
        engine = make_engine(url)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "30s"
            connection.exec_driver_sql("SET idle_in_transaction_session_timeout = '200ms'")
            time.sleep(1)
            with pytest.raises(InternalError) as ended:
                connection.exec_driver_sql("SELECT 1")
            assert ended.value.connection_invalidated
            connection.invalidate()
        engine.dispose()


def test_a_reading_session_opens_no_transaction_on_postgres(postgres: Postgres) -> None:
    """BEGIN and COMMIT would be two of four round trips of a poll."""
    moment = text("SELECT transaction_timestamp()")
    with postgres.database() as url:
        database = Database(url)
        with database.reading() as session:
            assert session.scalar(moment) < session.scalar(moment)
        with database.transaction() as session:  # on the same connection
            assert session.scalar(moment) == session.scalar(moment)
        database.engine.dispose()


@pytest.mark.parametrize("lane", ["requests", "guard", "follow"])
def test_a_read_whose_connection_broke_while_idle_is_repeated(postgres: Postgres, lane: str) -> None:
    """Reads do not ask beforehand whether their connection is alive; nothing may come of that."""
    with postgres.migrated() as url:
        database = Database(url, admitted=admission.CONNECTIONS)
        runs: list[int] = []

        def backend() -> int:
            runs.append(1)
            with database.reading() as session:
                return session.scalar(text("SELECT pg_backend_pid()")) or 0

        async def read() -> int:
            let_in = admission.Admission(database)
            lanes = {"requests": partial(let_in.run, write=False), "guard": let_in.guard}
            return await lanes.get(lane, let_in.follow)(backend)

        first = asyncio.run(read())
        postgres.disconnect(url)
        second = asyncio.run(read())
        third = asyncio.run(read())
        assert (first != second, second == third, len(runs)) == (True, True, 4)
        database.engine.dispose()


def test_a_transaction_never_meets_a_connection_that_broke_while_idle(postgres: Postgres) -> None:
    """What writes cannot be repeated; so it asks beforehand."""
    with postgres.migrated() as url:
        database = Database(url)
        for _ in range(2):
            with database.transaction() as session:
                assert session.scalar(text("SELECT 1")) == 1
            postgres.disconnect(url)
        database.engine.dispose()


def test_postgres_compiles_no_query_and_idle_connections_are_closed(postgres: Postgres) -> None:
    with postgres.database() as url:
        engine = make_engine(url, kept=1)
        with engine.connect() as first, engine.connect(), engine.connect():
            assert first.scalar(text("SHOW jit")) == "off"
            assert first.scalar(text(CONNECTIONS)) == 3
        with engine.connect() as only:
            assert wait_for(lambda: only.scalar(text(CONNECTIONS)) == 1)  # a server takes a moment to notice
        engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("queue", ["train", "inspect"])
def test_an_idle_worker_holds_one_connection(
    postgres: Postgres, valkey_server: Valkey, tmp_path: Path, queue: str
) -> None:
    with postgres.migrated() as url:
        environment = {"RDRKD_DATABASE_URL": url, "RDRKD_BROKER_URL": valkey_server.new_url()}
        environment |= {"RDRKD_DATA_DIR": str(tmp_path), "RDRKD_HEARTBEAT_SECONDS": "0.2"}
        engine = make_engine(url, kept=1)
        worker = subprocess.Popen(
            [sys.executable, "-m", "worker", "--queue", queue], env=os.environ | environment, cwd=ROOT
        )
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as own:
                assert wait_for(lambda: own.scalar(text("SELECT count(*) FROM worker")) == 1)
                time.sleep(1)  # several beats, and looks for work
                assert wait_for(lambda: own.scalar(text(CONNECTIONS)) == 2)  # the worker's one, and ours
        finally:
            worker.terminate()
            worker.wait(30)
            engine.dispose()
