"""Who works here, what waits for them, and what a queued job hears of that."""

from typing import Any

import pytest
from sqlalchemy import update

from api.db import after_seconds
from api.jobs import upload_checks
from api.jobs.workers import service as workers
from api.jobs.workers.service import Presence
from api.tables.jobs import Job
from api.tables.states import Status
from api.tables.workers import Worker
from api.wake_ups import INSPECT, TRAIN
from tests.api.conftest import Service

GPU = {"name": "NVIDIA H100 80GB HBM3", "memory": 85_520_809_984}


def join(service: Service, name: str, queue: str = TRAIN, lease: float = 60, **more: Any) -> Presence:
    presence = Presence(name, queue, "1.2.3", 4, **more)
    with service.database.transaction() as session:
        workers.join(session, presence, lease)
    return presence


def shown(service: Service) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in service.client.get("/v1/workers").raise_for_status().json()["data"]}


def queue(service: Service, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/v1/queue", params=query).raise_for_status().json()
    return found


def waits(service: Service, job_id: str) -> dict[str, Any]:
    [waiting] = service.client.get(f"/v1/jobs/{job_id}").json()["waiting_for"]
    return dict(waiting)


def test_workers_show_what_they_are_and_do(each_service: Service) -> None:
    assert shown(each_service) == {}
    job_id = each_service.job(Status.RUNNING)  # by worker-1
    dataset = each_service.upload()
    with each_service.database.transaction() as session:
        upload_checks.claim(session, "inspector-1", 60)
    join(each_service, "worker-1", devices=[GPU])
    join(each_service, "worker-2")
    join(each_service, "inspector-1", INSPECT)

    rows = shown(each_service)

    assert list(rows) == ["inspector-1", "worker-1", "worker-2"]
    assert [row["works_on"] for row in rows.values()] == [
        {"what": "dataset", "id": dataset}, {"what": "job", "id": job_id}, None
    ]  # fmt: skip
    one = rows["worker-1"]
    assert (one["queue"], one["alive"], one["version"], one["cpus"], one["devices"]) == (TRAIN, True, "1.2.3", 4, [GPU])
    assert one["since"] <= one["beat_at"]


def test_a_worker_is_alive_for_a_lease_after_its_beat(each_service: Service) -> None:
    presence = join(each_service, "worker-1", lease=-1)
    assert not shown(each_service)["worker-1"]["alive"]
    before = shown(each_service)["worker-1"]
    with each_service.database.transaction() as session:
        workers.beat(session, presence, 60)

    after = shown(each_service)["worker-1"]

    assert (after["alive"], after["since"]) == (True, before["since"])
    assert after["beat_at"] > before["beat_at"]


def test_workers_come_back_leave_and_are_forgotten(each_service: Service) -> None:
    gone, there = join(each_service, "gone", lease=-100), join(each_service, "there")
    with each_service.database.transaction() as session:
        assert workers.forget(session, 50) == 1
    assert list(shown(each_service)) == ["there"]
    with each_service.database.transaction() as session:
        workers.beat(session, gone, 60)  # it was only cut off
        workers.leave(session, there.name)
    assert list(shown(each_service)) == ["gone"]
    first = shown(each_service)["gone"]["since"]
    join(each_service, "gone", INSPECT)  # another process of the same name
    assert (shown(each_service)["gone"]["queue"], shown(each_service)["gone"]["since"] > first) == (INSPECT, True)


def test_a_queued_job_says_that_nobody_is_there(each_service: Service) -> None:
    job_id = each_service.job()
    alone = waits(each_service, job_id)
    join(each_service, "inspector", INSPECT)
    join(each_service, "lost", lease=-1)
    with_others = waits(each_service, job_id)
    etag = each_service.client.get(f"/v1/jobs/{job_id}").headers["ETag"]
    join(each_service, "worker")

    response = each_service.client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag})

    assert alone["detail"] == "waits for a worker: no worker is connected; it is next"
    assert (alone["what"], alone["position"]) == ("worker", 1)
    assert with_others == alone
    assert response.status_code == 200  # news, though nobody wrote to the job
    assert waits(each_service, job_id)["detail"] == "waits for a free worker; it is next"
    [listed] = each_service.client.get("/v1/jobs").json()["data"]
    assert listed["waiting_for"][0]["detail"] == "waits for a free worker"


@pytest.mark.slow
def test_the_queue_is_in_the_order_of_the_claims(each_service: Service) -> None:
    empty = queue(each_service)
    dataset, unchecked = each_service.dataset(), each_service.upload()
    second = each_service.submit(dataset)["id"]
    third = each_service.submit(dataset, model={"architecture": "yolov8s"}, name="third")["id"]
    waiting = each_service.submit(unchecked, priority=9)["id"]
    first = each_service.submit(dataset, priority=5)["id"]
    with each_service.database.transaction() as session:
        session.execute(update(Job).where(Job.id == second).values(queued_at=after_seconds(-100)))

    found = queue(each_service)

    assert (empty["data"], empty["oldest_seconds"], empty["claimable"]) == ([], None, 0)
    assert [(row["id"], row["position"]) for row in found["data"]] == [
        (waiting, None), (first, 1), (second, 2), (third, 3)
    ]  # fmt: skip
    assert [row["waiting_for"][0]["what"] for row in found["data"]] == ["dataset", "worker", "worker", "worker"]
    assert [row["waiting_for"][0]["position"] for row in found["data"]] == [None, 1, 2, 3]
    assert waits(each_service, third)["position"] == 3
    assert (found["workers"], found["claimable"], found["has_more"]) == (0, 3, False)
    assert 99 < found["oldest_seconds"] < 200
    assert [each_service.claim().id for _ in range(3)] == [first, second, third]
    counts = queue(each_service)["counts"]
    assert (counts["queued"], counts["starting"], counts["succeeded"]) == (1, 3, 0)
    assert set(counts) == set(Status)


def test_a_long_queue_is_cut(service: Service) -> None:
    join(service, "worker")
    dataset = service.dataset()
    jobs = [service.submit(dataset)["id"] for _ in range(3)]

    found = queue(service, limit=2)

    assert ([row["id"] for row in found["data"]], found["has_more"]) == (jobs[:2], True)
    assert (found["claimable"], found["workers"], found["counts"]["queued"]) == (3, 1, 3)


@pytest.mark.parametrize("limit", ["0", "201", "x"])
def test_bad_queries_name_the_parameter(steady: Service, limit: str) -> None:
    response = steady.client.get("/v1/queue", params={"limit": limit})

    assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "limit")


def test_a_name_is_one_worker(service: Service) -> None:
    join(service, "worker")
    join(service, "worker")

    with service.database.transaction() as session:
        assert session.query(Worker).count() == 1
