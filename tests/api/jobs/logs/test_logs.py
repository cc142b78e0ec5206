"""Logs as text, as JSON and as a stream, from any place on, and with a word about what is kept no more."""

import json
import threading
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete

from api.jobs import lifecycle
from api.jobs.claims import Held
from api.jobs.logs.service import ANSWER, PIECE
from api.tables.logs import JobLog
from api.tables.states import Status
from tests.api.conftest import Listen, Service
from tests.sse import events

JSON, STREAM = {"Accept": "application/json"}, {"Accept": "text/event-stream"}


def write(service: Service, held: Held, *pieces: str) -> None:
    for text in pieces:
        with service.database.transaction() as session:
            lifecycle.record_log(session, held, text)


def read(service: Service, job_id: str, accept: dict[str, str] | None = None, **query: Any) -> httpx2.Response:
    return service.client.get(f"/v1/jobs/{job_id}/logs", params=query, headers=accept).raise_for_status()


def two_attempts(service: Service) -> str:
    """Return a job of which two attempts have written."""
    first = service.bring(service.job(), Status.RUNNING)
    write(service, first, "a1\na2\n", "a3\n")
    service.requeue(first)
    write(service, service.claim(), "b1\nb2 é\n", "b3\n")
    return first.id


def test_the_whole_is_text(each_service: Service) -> None:
    job_id = two_attempts(each_service)

    response = read(each_service, job_id)

    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.text == "a1\na2\na3\nb1\nb2 é\nb3\n"
    assert response.headers["Link"] == f'</v1/jobs/{job_id}/logs?after=2-2>; rel="next"'
    assert read(each_service, job_id, attempt=1).text == "a1\na2\na3\n"
    assert read(each_service, job_id, after="1-2").text == "b1\nb2 é\nb3\n"
    assert read(each_service, job_id, after="1-1", attempt=1).text == "a3\n"
    assert read(each_service, job_id, after="2-2").text == ""
    assert read(each_service, each_service.job()).text == ""


@pytest.mark.parametrize(
    ("tail", "attempt", "text"),
    [
        (1, None, "b3\n"),
        (2, None, "b2 é\nb3\n"),
        (4, None, "a3\nb1\nb2 é\nb3\n"),
        (99, 1, "a1\na2\na3\n"),
        (2, 1, "a2\na3\n"),
    ],
)
def test_the_last_lines(each_service: Service, tail: int, attempt: int | None, text: str) -> None:
    query = {"tail": tail} | ({"attempt": attempt} if attempt else {})
    job_id = two_attempts(each_service)

    assert read(each_service, job_id, **query).text == text
    assert read(each_service, job_id).text.startswith("a1\na2\n")  # nothing is cut but the answer


def test_pages_as_json(each_service: Service) -> None:
    held = each_service.bring(each_service.job(), Status.RUNNING)
    lines = [f"{number}" + "x" * 30_000 + "\n" for number in range(20)]
    write(each_service, held, *lines)
    seen: list[dict[str, Any]] = []
    after, pages, more = "0-0", 0, True
    while more:
        response = read(each_service, held.id, JSON, after=after)
        assert len(response.content) < 1.1 * ANSWER
        page = response.json()
        after, more, pages, seen = page["next"], page["has_more"], pages + 1, seen + page["data"]

    assert [piece["text"] for piece in seen] == lines
    assert (pages, after) == (2, "1-20")
    assert {name: seen[1][name] for name in ("attempt", "number", "dropped")} == {
        "attempt": 1, "number": 2, "dropped": False
    }  # fmt: skip


def test_a_line_says_that_older_ones_are_gone(each_service: Service) -> None:
    job_id = two_attempts(each_service)
    with each_service.database.transaction() as session:
        session.execute(delete(JobLog).where(JobLog.attempt == 2, JobLog.number == 1))

    assert read(each_service, job_id).text == "a1\na2\na3\n[older lines of attempt 2 were dropped]\nb3\n"
    assert [piece["dropped"] for piece in read(each_service, job_id, JSON).json()["data"]] == [False, False, True]
    assert read(each_service, job_id, after="2-1").text == "b3\n"


def test_a_long_line_is_cut(service: Service) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    write(service, held, "x" * 2 * PIECE + "\nend\n")

    first, end = read(service, held.id).text.splitlines()

    assert (len(first), first[-2:], end) == (PIECE - 1, "x…", "end")


@pytest.mark.slow
def test_a_stream_goes_on_to_the_end_and_comes_back_where_it_was(listen: Listen) -> None:
    service, replica = listen(), listen()
    held = service.bring(service.job(), Status.RUNNING)
    write(service, held, "before\n")

    def train() -> None:
        for number in range(20):
            write(service, held, f"{number}\n")
        service.end(held, Status.FAILED)

    address, seen, last = f"/v1/jobs/{held.id}/logs", [], {}
    with service.client.stream("GET", address, headers=STREAM) as response:
        stream = events(response.iter_lines())
        first = next(stream)
        trainer = threading.Thread(target=train)
        trainer.start()
        seen = [first, *(next(stream) for _ in range(5))]
        last = {"Last-Event-ID": seen[-1].id}
    with replica.client.stream("GET", address, headers=STREAM | last) as response:
        seen += events(response.iter_lines())  # it ends by itself
    trainer.join()

    assert (first.event, first.id) == ("log", "1-1")
    assert "".join(json.loads(event.data)["text"] for event in seen) == "before\n" + "".join(
        f"{n}\n" for n in range(20)
    )
    assert [event.id for event in seen] == [f"1-{number}" for number in range(1, 22)]
    again = service.client.get(address, headers=STREAM | {"Last-Event-ID": seen[-1].id})
    assert again.status_code == 204


@pytest.mark.parametrize("query", ["tail=0", "tail=10001", "after=x", "after=1", "attempt=0", f"attempt={2**31}"])
def test_bad_queries_name_the_parameter(steady: Service, query: str) -> None:
    response = steady.client.get(f"/v1/jobs/x/logs?{query}")

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]
