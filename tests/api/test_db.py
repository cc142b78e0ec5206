"""How databases are opened."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import InternalError

from api.db import make_engine
from tests.servers import Postgres


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
