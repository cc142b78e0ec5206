"""`make bench-queue`: what the queue's operations cost with 100 to 100 000 jobs, on SQLite and PostgreSQL.

Each size has so many jobs that can start, and as many that wait for one teacher. The figures are of the operation and
its queries in one process, without HTTP; those of the service as a whole are `make bench-service`'s.
"""

import argparse
import json
import logging
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from api import migrations
from api.access.quotas import Quotas, bind
from api.db import Database
from api.jobs import claims, expiry, lifecycle, service, unblocking
from api.jobs.claims import Held
from api.jobs.lifecycle import Ending
from api.jobs.waiting import waiting_for
from api.jobs.workers import service as workers
from api.monitoring import service as monitoring
from api.reaper import Reaper
from api.settings import Settings
from api.tables.jobs import Job
from api.tables.states import Status
from rdrkd.reasons import Reason
from rdrkd.spec import JOB_SPEC
from tests.benchmarks.queued import Filled, fill
from tests.servers import running_postgres

OUTPUT = Path(__file__).parents[2] / "docs" / "results" / "bench-queue.json"
SIZES = (100, 1_000, 10_000, 100_000)
TIMES = 15  # each operation is measured so often; the best counts: others may load the machine meanwhile
TELLING_SECONDS = 3.0  # for which dependants of a teacher that has failed are told

Row = dict[str, float]


def measure(database: Database, size: int, data_dir: Path) -> Row:
    """Fill an empty database and measure every operation, in milliseconds."""
    filled = fill(database, size, size)
    settings = Settings(
        data_dir=data_dir, broker_url="memory://", database_url=database.engine.url.render_as_string(False)
    )
    row = {name: _best(database, filled, operation) for name, operation in OPERATIONS.items()}
    reaper = Reaper(settings)
    row["reaper_round"] = min(_timed(reaper.round) for _ in range(TIMES))
    row["end_of_teacher"] = _timed(lambda: _in_transaction(database, lambda session: _end(session, filled)))
    began, told = time.monotonic(), 0
    told = sum(1 for _ in unblocking.catch_up(database, TELLING_SECONDS))
    row["dependants_told_per_second"] = round(told / (time.monotonic() - began)) if told else 0
    reaper.database.engine.dispose()
    return {name: round(value, 2) for name, value in row.items()}


def _create(session: Session, filled: Filled, **changes: Any) -> None:
    bind(session, Quotas(queued_jobs=1000, running_jobs=0))
    content = {"kind": "train", "dataset": filled.dataset, "model": {"architecture": "yolov8n"}} | changes
    waiting_for(session, service.create(session, JOB_SPEC.validate_python(content)), count=True)


def _newest(session: Session, _filled: Filled) -> None:
    for row in service.newest(session, 20, None)[0]:
        waiting_for(session, row)


def _read_last(session: Session, filled: Filled) -> None:
    """Read the job with most jobs before it."""
    waiting_for(session, session.get_one(Job, filled.last), count=True)


def _end(session: Session, filled: Filled) -> None:
    teacher = session.get_one(Job, filled.teacher)
    held = Held(teacher.id, 1, teacher.kind, teacher.spec, 60)
    lifecycle.finish(session, held, Ending(Status.FAILED, Reason.NAN_LOSS))


OPERATIONS: dict[str, Callable[[Session, Filled], object]] = {
    "claim": lambda session, _: claims.claim(session, "worker", 600),
    "claim_with_quota": lambda session, _: claims.claim(session, "worker", 600, most_running=2),
    "create": _create,
    "create_dependant": lambda session, filled: _create(session, filled, model={"job": filled.teacher}),
    "read_first": lambda session, filled: waiting_for(session, session.get_one(Job, f"job_{0:031d}1"), count=True),
    "read_last": _read_last,
    "list": _newest,
    "due_bells": lambda session, _: expiry.due_bells(session, 10),
    "fail_overdue": lambda session, _: expiry.fail_overdue(session),
    "queue": lambda session, _: workers.queue(session, 100),
    "monitoring": lambda session, _: list(monitoring.figures(session, 0, 0, "0")),
}


def _best(database: Database, filled: Filled, operation: Callable[[Session, Filled], object]) -> float:
    _in_transaction(database, lambda session: operation(session, filled))  # compiles the statement
    runs = (_timed(lambda: _in_transaction(database, lambda session: operation(session, filled))) for _ in range(TIMES))
    return min(runs)


def _in_transaction(database: Database, move: Callable[[Session], object]) -> None:
    with database.transaction() as session:
        move(session)


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - began)


@contextmanager
def _databases(folder: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """Yield what makes an empty database of each kind at the newest revision."""
    numbers = iter(range(1000))

    def sqlite() -> str:
        url = f"sqlite:///{folder}/{next(numbers)}.db"
        migrations.upgrade(url)
        return url

    with running_postgres() as server:

        def postgresql() -> str:
            url = server._new()
            migrations.upgrade(url)
            return url

        yield {"sqlite": sqlite, "postgresql": postgresql}


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.queue", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="jobs that can start, and that wait")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON file to write")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # a line for each dependant
    folder, figures = Path(tempfile.mkdtemp(prefix="rdrkd-bench-")), dict[str, dict[str, Row]]()
    try:
        with _databases(folder) as kinds:
            for kind, new in kinds.items():
                figures[kind] = {}
                for size in options.sizes:
                    database = Database(new())
                    figures[kind][str(size)] = measure(database, size, folder)
                    database.engine.dispose()
                _show(kind, figures[kind])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = {"unit": "ms, best", "times": TIMES, "python": platform.python_version(), "machine": platform.machine()}
    options.output.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")


def _show(kind: str, rows: dict[str, Row]) -> None:
    table = Table(title=f"{kind}, ms")
    table.add_column("operation")
    for size in rows:
        table.add_column(size, justify="right")
    for name in next(iter(rows.values())):
        table.add_row(name, *(f"{row[name]:g}" for row in rows.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
