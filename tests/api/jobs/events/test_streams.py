"""Streams over real sockets: as it happens, over several processes, for clients that are slow, vanish, or come back."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from sqlalchemy import delete
from starlette.responses import Response

from api.http import watch
from api.http.dependencies import WatchDep
from api.http.main import create_app
from api.http.streams import Batch, EventStream
from api.tables.events import JobEvent
from api.tables.jobs import Job
from api.tables.states import Status
from tests.api.conftest import ZIP, Listen, Service, listening
from tests.api.test_server import environment, free_port
from tests.sse import Sent, events, parse

STREAM = {"Accept": "text/event-stream"}


def until(condition: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def follow(service: Service, job_id: str, last: int | None = None) -> Iterator[Sent]:
    headers = STREAM if last is None else STREAM | {"Last-Event-ID": str(last)}
    with service.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        yield from events(response.iter_lines())


@pytest.mark.slow
def test_events_come_as_they_happen_and_the_stream_ends_with_the_job(listen: Listen) -> None:
    service = listen()
    held = service.bring(service.job(), Status.RUNNING)
    stream = follow(service, held.id)
    assert [next(stream).id for _ in range(3)] == ["1", "2", "3"]

    for number in (1, 2):
        before = time.monotonic()
        service.epoch(held, number)
        event = next(stream)
        assert (event.id, event.event, json.loads(event.data)["data"]["epoch"]) == (str(3 + number), "epoch", number)
        assert time.monotonic() - before < 3
        assert service.app.state.database.engine.pool.checkedout() == 0  # nothing is held while it waits
    service.end(held, Status.SUCCEEDED)

    assert [json.loads(event.data)["data"]["to"] for event in stream] == ["succeeded"]
    until(lambda: service.app.state.watch.taken == 0)


@pytest.mark.slow
def test_reconnecting_to_any_replica_loses_and_repeats_nothing(listen: Listen) -> None:
    replicas = [listen(), listen()]
    held = replicas[0].bring(replicas[0].job(), Status.RUNNING)

    def train() -> None:
        for number in range(1, 61):
            replicas[0].epoch(held, number)
        replicas[0].end(held, Status.SUCCEEDED)

    trainer = threading.Thread(target=train)
    trainer.start()
    seen: list[int] = []
    ended = False
    while not ended:  # a bad line: it breaks after every few events
        stream = follow(replicas[len(seen) % 2], held.id, seen[-1] if seen else None)
        for event, _ in zip(stream, range(7), strict=False):
            seen.append(int(event.id))
            ended = '"succeeded"' in event.data
        stream.close()
    trainer.join()

    assert seen == list(range(1, 65))


def test_a_client_that_hangs_up_frees_its_place(listen: Listen) -> None:
    service = listen()
    job_id = service.job(Status.RUNNING)
    stream = follow(service, job_id)
    next(stream)
    assert service.app.state.watch.taken == 1

    stream.close()

    until(lambda: service.app.state.watch.taken == 0)
    assert service.app.state.database.engine.pool.checkedout() == 0


@pytest.mark.slow
def test_the_stream_of_a_job_that_is_removed_ends(listen: Listen) -> None:
    service = listen()
    job_id = service.job(Status.RUNNING)
    stream = follow(service, job_id, 2)
    assert next(stream).id == "3"
    with service.database.transaction() as session:
        session.execute(delete(Job).where(Job.id == job_id))

    assert list(stream) == []


def test_one_client_too_many_is_told_so_and_may_come_later(listen: Listen) -> None:
    service = listen(max_waiting=2)
    job_id = service.job(Status.RUNNING)
    taken = [follow(service, job_id) for _ in range(2)]
    for stream in taken:
        next(stream)

    refused = service.client.get(f"/v1/jobs/{job_id}/events", headers=STREAM)
    listed = service.client.get(f"/v1/jobs/{job_id}/events")
    taken[0].close()
    until(lambda: service.app.state.watch.taken == 1)

    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_waiting")
    assert int(refused.headers["Retry-After"]) > 0
    assert listed.status_code == 200  # who does not wait is served
    assert next(follow(service, job_id)).id == "1"
    taken[1].close()


@pytest.mark.slow
def test_a_slow_client_costs_no_memory_and_gets_everything(listen: Listen) -> None:
    service = listen()
    held = service.bring(service.job(), Status.RUNNING)
    with service.database.transaction() as session:
        session.add_all(
            JobEvent(job_id=held.id, seq=seq, type="warning", attempt=1, data={"message": "x" * 20_000})
            for seq in range(4, 6004)
        )
    service.client.get(f"/v1/jobs/{held.id}/events?limit=500")
    before = psutil.Process().memory_info().rss
    port = service.client.base_url.port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = f"GET /v1/jobs/{held.id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        connection.sendall(head.encode())
        time.sleep(2)  # it takes nothing
        assert psutil.Process().memory_info().rss - before < 60 * 2**20  # of 120 MB of events
        assert service.app.state.database.engine.pool.checkedout() == 0
        assert service.client.get(f"/v1/jobs/{held.id}").elapsed.total_seconds() < 2
        service.end(held, Status.SUCCEEDED)
        received = b""
        chunks = []
        while not received.endswith(b"0\r\n\r\n"):
            chunks.append(connection.recv(2**20))
            received = chunks[-1]
    ids = [int(seq) for seq in re.findall(rb"^id: (\d+)$", b"".join(chunks), re.MULTILINE)]
    assert ids == list(range(1, 6005))


@pytest.fixture
def hasty(listen: Listen) -> Iterator[Service]:
    """Streams of other times: one that never ends, and one in which nothing happens."""
    service = listen()
    job_id = service.job(Status.RUNNING)
    app = create_app(service.app.state.settings)

    @app.get("/endless")
    def endless(watch: WatchDep) -> Response:
        return EventStream(watch, job_id, lambda cursor: Batch(bytes(2**19), cursor, more=True), 0, patience=0.5)

    @app.get("/silent")
    def silent(watch: WatchDep) -> Response:
        return EventStream(watch, job_id, lambda cursor: Batch(b"", cursor), 0, keep_alive=0.2)

    with listening(app) as running:
        yield running


@pytest.mark.slow
def test_a_client_that_takes_nothing_at_all_is_cut_off(hasty: Service) -> None:
    port, watch = hasty.client.base_url.port, hasty.app.state.watch
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: watch.taken == 1)
        until(lambda: watch.taken == 0)


@pytest.mark.slow
def test_silence_is_broken_by_comments(hasty: Service) -> None:
    with hasty.client.stream("GET", "/silent") as response:
        lines = parse(response.iter_lines())
        assert [next(lines) for _ in range(3)] == ["ping"] * 3


@pytest.mark.slow
def test_a_lost_database_ends_no_stream_that_waits(listen: Listen, request: pytest.FixtureRequest) -> None:
    service = listen()
    if service.database.engine.dialect.name == "sqlite":
        pytest.skip("a file is never away")
    held = service.bring(service.job(), Status.RUNNING)
    stream = follow(service, held.id, 2)
    assert next(stream).id == "3"
    server = request.getfixturevalue("postgres")
    url = service.database.engine.url.render_as_string(hide_password=False)
    server.refuse(url, True)
    time.sleep(3 * watch.POLL_SECONDS)
    server.refuse(url, False)
    service.epoch(held, 1)

    assert (event := next(stream)).id == "4"
    assert event.event == "epoch"
    stream.close()


@pytest.mark.slow
def test_streams_do_not_hold_up_the_end_of_the_service(tmp_path: Path) -> None:
    port = free_port()
    env = environment(tmp_path / "var", port=str(port), stop_grace_seconds="30")
    with subprocess.Popen([sys.executable, "-m", "api"], env=env, stderr=subprocess.PIPE) as process:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            until(lambda: answers(client), 60)
            dataset = client.post("/v1/datasets", files={"file": ZIP}).json()["id"]
            body = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": dataset}
            job_id = client.post("/v1/jobs", json=body).json()["id"]
            with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as response:
                stream = events(response.iter_lines())
                assert next(stream).id == "1"
                os.kill(process.pid, signal.SIGTERM)
                assert list(stream) == []  # in order, not cut off
        log = process.communicate(timeout=10)[1].decode()
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
