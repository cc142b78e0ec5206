"""Long polls over real sockets: the answer comes with the news, and costs nothing until then."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import event

from api.http.routes.polling import LOOKS_PER_SECOND
from api.jobs import service as jobs
from api.tables.states import Status
from rdrkd.spec import JOB_SPEC
from tests.api.conftest import Listen, Service


class Asked:
    """A request under way in a thread of its own."""

    def __init__(self, service: Service, address: str, **headers: str) -> None:
        self.began = time.monotonic()
        self.url = str(service.client.base_url.join(address))
        self.thread = threading.Thread(target=self._ask, kwargs=headers)
        self.thread.start()

    def _ask(self, **headers: str) -> None:
        self.response = httpx2.get(self.url, headers=headers, timeout=30)
        self.seconds = time.monotonic() - self.began

    def answer(self) -> httpx2.Response:
        self.thread.join(30)
        return self.response


@contextmanager
def asked(service: Service, job_id: str, wait: float, etag: str | None = None) -> Iterator[Asked]:
    """Ask, and come when the request waits."""
    one = Asked(service, f"/v1/jobs/{job_id}?wait={wait}", **({"If-None-Match": etag} if etag else {}))
    end = time.monotonic() + 10
    while service.app.state.watch.taken == 0 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)
    assert service.app.state.database.engine.pool.checkedout() == 0  # nothing is held while it waits
    yield one
    one.thread.join(30)


def etag_of(service: Service, job_id: str) -> str:
    return str(service.client.get(f"/v1/jobs/{job_id}").headers["ETag"])


@pytest.mark.slow
def test_another_version_answers_at_once(listen: Listen) -> None:
    service, other = listen(), listen()
    held = service.bring(service.job(), Status.RUNNING)
    with asked(service, held.id, 20, etag_of(service, held.id)) as one:
        other.progress(held, epoch=2, epochs=3)

    assert (one.answer().status_code, one.answer().json()["epoch"]) == (200, 2)
    assert one.seconds < 5
    assert one.answer().headers["ETag"] == etag_of(service, held.id)


@pytest.mark.slow
def test_without_a_version_another_status_answers(listen: Listen) -> None:
    service = listen()
    held = service.bring(service.job(), Status.RUNNING)
    with asked(service, held.id, 20) as one:
        service.progress(held, epoch=2, epochs=3)
        time.sleep(1)
        assert one.thread.is_alive()  # progress alone is none
        service.client.post(f"/v1/jobs/{held.id}/cancel")

    assert one.answer().json()["status"] == "cancelling"
    assert one.seconds < 8


def test_a_queued_job_has_news_when_what_it_waits_for_changes(listen: Listen) -> None:
    service = listen()
    dataset = service.dataset()
    first, second = (service.submit(dataset)["id"] for _ in range(2))
    with asked(service, second, 20, etag_of(service, second)) as one:
        service.client.post(f"/v1/jobs/{first}/cancel")

    assert one.answer().json()["waiting_for"][0]["position"] == 1
    assert one.seconds < 8


@pytest.mark.slow
@pytest.mark.parametrize(("known", "status"), [(True, 304), (False, 200)])
def test_when_the_time_is_over_the_job_is_as_it_was(listen: Listen, known: bool, status: int) -> None:
    service = listen()
    job_id = service.job(Status.RUNNING)
    with asked(service, job_id, 1, etag_of(service, job_id) if known else None) as one:
        pass

    assert one.answer().status_code == status
    assert 1 <= one.seconds < 5


def test_an_ended_job_has_no_more_news(listen: Listen) -> None:
    service = listen()
    job_id = service.job(Status.SUCCEEDED)
    etag = etag_of(service, job_id)

    before = time.monotonic()
    answers = [service.client.get(f"/v1/jobs/{job_id}?wait=20", headers=headers).status_code
               for headers in ({"If-None-Match": etag}, {})]  # fmt: skip

    assert answers == [304, 200]
    assert time.monotonic() - before < 5


@pytest.mark.slow
def test_a_client_that_hangs_up_frees_its_place(listen: Listen) -> None:
    service = listen()
    job_id = service.job(Status.RUNNING)
    with pytest.raises(httpx2.ReadTimeout):
        service.client.get(f"/v1/jobs/{job_id}?wait=60", timeout=1)
    end = time.monotonic() + 10
    while service.app.state.watch.taken and time.monotonic() < end:
        time.sleep(0.05)

    assert service.app.state.watch.taken == 0


@pytest.mark.slow
def test_however_many_wait_together_they_look_seldom(listen: Listen) -> None:
    """What a queued job waits for changes without a write to it, so each looks; 199 clients once took 1.56 cores."""
    service = listen(max_waiting=300)
    content = {"kind": "train", "dataset": service.dataset(), "model": {"architecture": "yolov8n"}}
    spec = JOB_SPEC.validate_python(content)
    with service.database.transaction() as session:
        ids = [jobs.create(session, spec).id for _ in range(200)]
    looks: list[str] = []

    @event.listens_for(service.app.state.database.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        looks.extend([statement] if "job.spec" in statement else [])

    with ExitStack() as stack:
        for job_id in ids:
            address = service.client.base_url.host, service.client.base_url.port
            connection = stack.enter_context(socket.create_connection(address, 30))
            connection.sendall(f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        end = time.monotonic() + 50
        while len(looks) < 2 * len(ids) and time.monotonic() < end:  # at once, and at the first read of versions
            time.sleep(0.05)
        before, began = len(looks), time.monotonic()
        assert (service.app.state.watch.taken, before >= 2 * len(ids)) == (len(ids), True)
        time.sleep(2.5)
        assert len(looks) - before <= 2 * LOOKS_PER_SECOND * (time.monotonic() - began)


@pytest.mark.parametrize("wait", ["-1", "61", "x", "nan"])
def test_times_that_are_none(steady: Service, wait: str) -> None:
    response: Any = steady.client.get("/v1/jobs/x", params={"wait": wait})

    assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "wait")
