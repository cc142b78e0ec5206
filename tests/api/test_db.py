"""How databases are opened."""

import sqlite3
import threading
from pathlib import Path

from api.db import make_engine


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
