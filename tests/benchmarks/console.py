"""`make bench-console`: what the console costs with 10 000 jobs and a training that writes an epoch a second.

Each page is asked for over a real connection, as a browser does. The cost of an open page is the processor time of the
service for its polls, at the page's own pace.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from api import migrations
from api.db import Database
from api.http.main import create_app
from api.jobs import lifecycle
from api.jobs.claims import Held
from api.settings import Settings
from rdrkd.events import Epoch, Progress
from tests.api.conftest import listening
from tests.benchmarks.console_browser import browse
from tests.benchmarks.queued import Filled, fill

OUTPUT = Path(__file__).parents[2] / "docs" / "results"
NAMES = {"pages": "bench-console.json", "browser": "bench-console-browser.json"}
JOBS, ENDED, COMPARED = 10_000, 2_000, 400
TIMES, OPEN_SECONDS = 40, 30.0
POLLS = {"": 3.0, "/log": 3.0}  # of an open job page: path behind the job's, seconds between two
RESULT = {"metrics": {"coco": {"AP": 20.0, "AP_S": 10.0}}, "seconds": 60.0, "memory_bytes": 1_000_000}


def prepare(database: Database) -> Filled:
    """Fill an empty database: queued and ended jobs, some of which can be compared, and one that is being trained."""
    filled = fill(database, JOBS - ENDED, ended=ENDED)
    chosen = "id IN (SELECT id FROM job WHERE status = 'succeeded' ORDER BY id LIMIT :count)"
    with database.engine.begin() as connection:
        connection.execute(
            text(f"UPDATE job SET name = 'compared', result = :result WHERE {chosen}"),
            {"count": COMPARED, "result": json.dumps(RESULT)},
        )
    return filled


def train(database: Database, job: str, stopped: threading.Event) -> None:
    """Write what a worker writes of a training, an epoch a second."""
    held, epoch = Held(job, 1, "w", {}, 0), 0
    while not stopped.wait(1.0):
        epoch += 1
        event = Epoch(
            epoch=epoch, epochs=1000, losses={"box": 1.0, "cls": 1.0, "dfl": 1.0, "decoupled": 2.0}, lr=0.01,
            weights={"decoupled": 0.1}, diagnostics={"decoupled/ratio": 0.5}, metrics={"mAP50_95": 10.0}, seconds=1.0,
        )  # fmt: skip
        with database.transaction(write=True) as session:
            lifecycle.renew(
                session, held, 3600, Progress(phase="training", completed=1, total=2, epoch=epoch, epochs=1000)
            )
            lifecycle.record_epoch(session, held, event)


def measure(client: httpx2.Client, job: str) -> dict[str, dict[str, float]]:
    """Measure each page."""
    pages = {
        "home": "/", "jobs": "/jobs", "jobs, failed": "/jobs?status=failed", "job": f"/jobs/{job}",
        "curves of a job": f"/jobs/{job}/curves", "log of a job": f"/jobs/{job}/log", "new job": "/jobs/new",
        "datasets": "/datasets", "studies": "/studies", "administration": "/administration",
        f"comparison of {COMPARED}": "/compare?name=compared",
    }  # fmt: skip
    return {name: _timed(client, path) for name, path in pages.items()}


def _timed(client: httpx2.Client, path: str) -> dict[str, float]:
    client.get(path).raise_for_status()
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        client.get(path).raise_for_status()
        taken.append(1000 * (time.perf_counter() - begun))
    return {"p50_ms": round(statistics.median(taken), 1), "p95_ms": round(statistics.quantiles(taken, n=20)[-1], 1)}


def cost_of_open_page(client: httpx2.Client, job: str) -> float:
    """Return the share of a core that the polls of one open job page take, percent."""
    tags: dict[str, str] = {}
    begun, used = time.monotonic(), _service_seconds()
    while time.monotonic() - begun < OPEN_SECONDS:
        for path in POLLS:
            answer = client.get(f"/jobs/{job}{path}", headers={"HX-PTag": tags.get(path, "")})
            tags[path] = answer.headers.get("HX-PTag", "")
        time.sleep(min(POLLS.values()))
    spent = _service_seconds() - used
    used = _service_seconds()
    time.sleep(OPEN_SECONDS)
    idle = _service_seconds() - used  # the training, and what the service does by itself
    return round(100 * (spent - idle) / OPEN_SECONDS, 2)


def _service_seconds() -> float:
    """Return the processor time of this process's other threads, which are the service and the training."""
    return time.process_time() - time.thread_time()


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", nargs="?", type=Path, default=OUTPUT, help="folder of the figures")
    parser.add_argument("--part", choices=tuple(NAMES), action="append", help="measure only this")
    given = parser.parse_args()
    parts, found = given.part or tuple(NAMES), dict[str, dict[str, Any]]()
    folder = Path(tempfile.mkdtemp(prefix="rdrkd-bench-"))
    stopped = threading.Event()
    try:
        settings = Settings(data_dir=folder, broker_url="memory://")
        migrations.upgrade(settings.database_url)
        database = Database(settings.database_url)
        filled = prepare(database)
        training = threading.Thread(target=train, args=(database, filled.teacher, stopped))
        training.start()
        with listening(create_app(settings)) as service:
            if "pages" in parts:
                found["pages"] = {"pages": measure(service.client, filled.teacher)}
                found["pages"]["open_job_page_percent_of_a_core"] = cost_of_open_page(service.client, filled.teacher)
            if "browser" in parts:
                found["browser"] = {"interactions": browse(str(service.client.base_url))}
        stopped.set()
        training.join()
        database.engine.dispose()
    finally:
        stopped.set()
        shutil.rmtree(folder)
    about = {"jobs": JOBS, "python": platform.python_version(), "machine": platform.machine()}
    about["cores"], about["load"] = os.cpu_count(), round(os.getloadavg()[0], 1)
    table = Table("page or interaction", "p50, ms", "p95, ms")
    for part, figures in found.items():
        (given.output / NAMES[part]).write_text(json.dumps(figures | about, indent=1) + "\n")
        for name, row in figures["pages" if part == "pages" else "interactions"].items():
            table.add_row(name, f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}")
    Console().print(table)
    if "pages" in found:
        Console().print(f"an open job page: {found['pages']['open_job_page_percent_of_a_core']} % of a core")


if __name__ == "__main__":
    main()
