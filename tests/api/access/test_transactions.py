"""One request, one transaction: the bell rings after the commit, and a broker that is down fails nothing."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from api.access.transactions import UnitOfWork
from api.caller import LOOPBACK
from api.db import Database
from api.tables.datasets import Dataset
from api.tables.jobs import Job
from api.tables.resumable import ResumableUpload
from api.wake_ups import INSPECT, MOST_WAITING, TRAIN, Doorbell
from tests.api.conftest import LOCAL, ZIP, Service, Start
from tests.commits import lost
from tests.servers import Valkey


class Listening(Doorbell):
    """A doorbell that looks, at every ring, whether the row is already there for everybody."""

    def __init__(self, database: Database) -> None:
        super().__init__("memory://")
        self.database, self.heard = database, list[tuple[str, bool]]()

    def ring(self, queue: str, row_id: str) -> bool:
        table = Job if queue == TRAIN else Dataset
        with self.database.transaction() as session:
            self.heard.append((queue, session.get(table, row_id) is not None))
        return super().ring(queue, row_id)


def test_the_bell_rings_after_the_commit(each_service: Service) -> None:
    bell = each_service.app.state.doorbell = Listening(each_service.database)

    each_service.submit(each_service.upload())

    assert bell.heard == [(INSPECT, True), (TRAIN, True)]


def test_the_row_is_there_before_the_answer_leaves(each_service: Service) -> None:
    dataset, there = each_service.upload(), list[bool]()

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def look_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                with each_service.database.transaction() as session:
                    there.append(session.scalar(sa.select(sa.func.count()).select_from(Job)) == 1)
            await send(message)

        await each_service.app(scope, receive, look_and_send)

    body = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": dataset}
    TestClient(watched, "http://127.0.0.1", client=LOCAL).post("/v1/jobs", json=body).raise_for_status()

    assert there == [True]


def test_a_refused_request_rings_nothing(service: Service) -> None:
    bell = service.app.state.doorbell = Listening(service.database)

    service.client.post("/v1/jobs", json={"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": "x"})

    assert bell.heard == []


def test_a_failure_rolls_back_and_undoes(service: Service) -> None:
    bell, undone = Listening(service.database), list[str]()

    def fail() -> None:
        with UnitOfWork.of(service.database, bell, LOOPBACK) as work:
            work.undo(lambda: undone.append("file"))
            work.session.add(Dataset(id="ds_1", filename="a.zip", key="uploads/a.zip", sha256="0" * 64, size=1))
            work.session.flush()
            work.ring(INSPECT, "ds_1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert (bell.heard, undone) == ([], ["file"])
    assert service.client.get("/v1/datasets").json()["data"] == []


def test_nothing_is_undone_when_the_answer_to_the_commit_is_lost(each_service: Service) -> None:
    with lost(each_service.app.state.database, Dataset):
        assert each_service.client.post("/v1/datasets", files={"file": ("a.zip", ZIP[1])}).status_code == 503
    [row] = each_service.client.get("/v1/datasets").json()["data"]
    assert each_service.files() == [f"uploads/{row['sha256']}.zip"]

    announced = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "9",
        "Upload-Metadata": "kind ZGF0YXNldA==,filename YS56aXA=",
    }
    with lost(each_service.app.state.database, ResumableUpload):
        assert each_service.client.post("/v1/uploads", headers=announced).status_code == 503
    with each_service.database.transaction() as session:
        [upload] = session.scalars(sa.select(ResumableUpload))
    answer = each_service.client.get(f"/v1/uploads/{upload.id}", headers={"Tus-Resumable": "1.0.0"})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (200, "0")  # it may go on


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:1/0", "sqla+sqlite:////nowhere/broker.db"])
def test_a_broker_that_is_down_does_not_fail_the_submit(start: Start, broker: str) -> None:
    with start(broker_url=broker) as service:
        began = time.monotonic()
        job = service.submit(service.upload())
        ready = service.client.get("/readyz")

    assert job["status"] == "queued"
    assert (ready.status_code, ready.json()["status"], ready.json()["broker"]) == (200, "degraded", "down")
    assert time.monotonic() - began < 60  # it gives up; how soon is a matter of the machine


def test_real_brokers_hear_the_bell(start: Start, valkey_server: Valkey, tmp_path: Path) -> None:
    for url in (f"sqla+sqlite:///{tmp_path}/broker.db", valkey_server.new_url()):
        with start(broker_url=url) as service:
            service.submit(service.upload())
            assert service.client.get("/readyz").json()["broker"] == "ok"
            bell: Doorbell = service.app.state.doorbell
            end = time.monotonic() + 20  # rings leave from a thread of their own
            while (bell.pending(TRAIN), bell.pending(INSPECT)) != (1, 1):
                assert time.monotonic() < end
                time.sleep(0.05)


def test_a_frozen_broker_holds_up_no_answer(start: Start, tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey")
    valkey.start()
    try:
        with start(broker_url=valkey.new_url()) as service:
            dataset = service.upload()
            valkey.freeze()
            took = list[float]()
            for _ in range(6):
                began = time.monotonic()
                assert service.submit(dataset)["status"] == "queued"
                took.append(time.monotonic() - began)
            began = time.monotonic()
            ready = service.client.get("/readyz").json()
            probed = time.monotonic() - began
    finally:
        valkey.wake()
        valkey.stop()

    assert max(took) < 2  # nobody waits for it; it was the whole time for which it was frozen
    assert ready["broker"] == "down"
    assert probed < 4  # the time that a container's health check has


def test_rings_that_a_broker_does_not_take_are_dropped_and_later_ones_heard(valkey_server: Valkey) -> None:
    url = valkey_server.new_url()
    bell = Doorbell(url)
    valkey_server.freeze()
    try:
        taken = [bell.ring(TRAIN, f"job_{number}") for number in range(2 * MOST_WAITING)]
    finally:
        valkey_server.wake()
    assert taken[0]
    assert not taken[-1]
    heard = Doorbell(url)
    end = time.monotonic() + 30
    while heard.pending(TRAIN) < MOST_WAITING:
        assert time.monotonic() < end
        time.sleep(0.1)
