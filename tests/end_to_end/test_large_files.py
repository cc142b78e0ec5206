"""Large files over connections that break, with memory that stays flat at both ends.

`RDRKD_LARGE_BYTES=2147483648 RDRKD_LARGE_OUT=large.json pytest tests/end_to_end/test_large_files.py` gives the
figures of docs/client.md.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

from api.db import Database
from api.http.main import create_app
from api.jobs import lifecycle
from api.settings import Settings
from api.tables.states import Status
from tests.api.conftest import Service
from tests.api.test_server import await_listening, environment, free_port
from tests.rdrkd.client.conftest import Breaking

MIB = 2**20
SIZE = int(os.environ.get("RDRKD_LARGE_BYTES", 192 * MIB))
GROWTH = 48 * MIB  # that either end may need at most, whatever the file's size
PROGRAM = """
import json, resource, sys
from rdrkd.client import Client
url, action, *arguments = sys.argv[1:]
with Client(url) as service:
    service.version()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = getattr(service, action)(*arguments)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"grown": 1024 * (after - before), "sha256": getattr(result, "sha256", None)}))
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of `SIZE` bytes; every mebibyte differs, the rest are holes."""
    path = tmp_path / "large.zip"
    with path.open("wb") as out:
        for start in range(0, SIZE, MIB):
            out.seek(start)
            out.write(start.to_bytes(8, "big"))
        out.truncate(SIZE)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[psutil.Process, int, Settings]]:
    data_dir, port = tmp_path / "var", free_port()
    env = environment(data_dir, port=str(port), max_dataset_bytes=str(2**40), max_model_bytes=str(2**40))
    with subprocess.Popen([sys.executable, "-m", "api"], env=env, stderr=subprocess.DEVNULL) as process:
        await_listening(port)
        yield psutil.Process(process.pid), port, Settings(data_dir=data_dir)
        process.send_signal(signal.SIGTERM)


def client(url: str, *arguments: str) -> tuple[dict[str, object], float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, *arguments], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), time.monotonic() - started


def test_large_files_break_off_and_go_on_with_flat_memory(
    server: tuple[psutil.Process, int, Settings], file: Path, tmp_path: Path
) -> None:
    process, port, settings = server
    way = Breaking(("127.0.0.1", port))
    client(f"http://127.0.0.1:{port}", "version")  # what a service loads once
    before, way.limit = process.memory_info().rss, SIZE // 3
    sha256 = sha256_of(file)

    up, up_seconds = client(way.url, "upload_dataset", str(file))
    up_cuts, up_grown = way.cuts, process.memory_info().rss - before

    way.limit = None
    job = publish(settings, file, tmp_path)
    before, way.limit, way.cuts = process.memory_info().rss, SIZE // 3, 0
    down, down_seconds = client(way.url, "download_weights", job, str(tmp_path / "student.pt"))
    down_grown = process.memory_info().rss - before
    way.close()

    figures: dict[str, Any] = {
        "bytes": SIZE,
        "upload": {"cuts": up_cuts, "client": up["grown"], "service": up_grown, "seconds": round(up_seconds, 1)},
        "download": {
            "cuts": way.cuts,
            "client": down["grown"],
            "service": down_grown,
            "seconds": round(down_seconds, 1),
        },
    }
    if out := os.environ.get("RDRKD_LARGE_OUT"):
        Path(out).write_text(json.dumps(figures, indent=1) + "\n")
    assert up["sha256"] == sha256
    assert sha256_of(tmp_path / "student.pt") == sha256
    for way_of in ("upload", "download"):
        assert figures[way_of]["cuts"] >= 2
        assert figures[way_of]["client"] < GROWTH, figures
        assert figures[way_of]["service"] < GROWTH, figures


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(settings: Settings, file: Path, folder: Path) -> str:
    """Return a job that has published the file as its weights, as a worker does."""
    app = create_app(settings)
    with TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 1)) as http:
        service = Service(app, http, Database(settings.database_url), app.state.storage)
        with service.database.transaction() as session:
            session.connection().exec_driver_sql("DELETE FROM dataset")  # nobody checks it here
        held = service.bring(service.job(), Status.RUNNING)
        stored = service.storage.put_file(file, f"jobs/{held.id}/attempt-1/epoch-1/student.pt")
        with service.database.transaction() as session:
            published = lifecycle.Published(1, "student.pt", stored.key, stored.sha256, stored.size)
            lifecycle.publish(session, held, [published])
    return held.id
