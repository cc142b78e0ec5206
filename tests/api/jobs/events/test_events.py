"""What happens to a job, as numbered rows: each thing once, in order, in the transaction in which it happened."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.db import after_seconds
from api.jobs import claims, expiry, lifecycle
from api.jobs.events import service as events
from api.jobs.lifecycle import Ending
from api.tables.events import JobEvent
from api.tables.jobs import Job
from api.tables.leases import Fenced
from api.tables.states import Status
from rdrkd.reasons import Reason
from tests.api.conftest import Service
from tests.sse import events as sent

STREAM = {"Accept": "text/event-stream"}
PLACE = {"part": "student", "part_epoch": 1, "part_epochs": 100}
NOWHERE = dict.fromkeys(PLACE)


def told(service: Service, job_id: str, **query: Any) -> list[dict[str, Any]]:
    page = service.client.get(f"/v1/jobs/{job_id}/events", params={"limit": 1000} | query).raise_for_status().json()
    found: list[dict[str, Any]] = page["data"]
    return found


def moves(service: Service, job_id: str) -> list[tuple[str | None, str, int, str | None]]:
    rows = [event for event in told(service, job_id) if event["type"] == "status"]
    return [(row["data"]["from"], row["data"]["to"], row["attempt"], row["data"]["reason"]) for row in rows]


def lose(service: Service, most: int = 5) -> None:
    with service.database.transaction() as session:
        session.execute(update(Job).values(lease_until=after_seconds(-1)))
        expiry.expire(session, most)


def test_a_job_tells_everything_in_order(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    with each_service.database.transaction() as session:
        lifecycle.record_resolved(session, held, {"seed": 1})
    each_service.warn(held, "dataset", "12 images have no label file", times=3)
    each_service.epoch(held, 1)
    each_service.checkpoint(held, 1, tmp_path)
    sha256 = each_service.publish(held, 1, b"<html>", tmp_path, "report.html")
    each_service.end(held, Status.SUCCEEDED)

    rows = told(each_service, job_id)

    kinds = ["status", "status", "status", "resolved", "warning", "epoch", "checkpoint", "artifact", "status"]
    assert [row["type"] for row in rows] == kinds
    assert [row["seq"] for row in rows] == list(range(1, 10))
    assert [row["attempt"] for row in rows] == [0] + [1] * 8
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert rows[1]["data"] == {"from": "queued", "to": "starting", "worker": "worker-1", "reason": None}
    assert rows[4]["data"] == {"code": "dataset", "message": "12 images have no label file", "epoch": None, **NOWHERE}
    epoch = {
        **PLACE, "epoch": 1, "epochs": 3, "losses": {"box": 1.5}, "metrics": {"mAP50": 10.0}, "lr": 0.01,
    }  # fmt: skip
    assert rows[5]["data"] == epoch
    checkpoint = rows[6]["data"]
    assert (checkpoint["epoch"], checkpoint["is_best"], checkpoint["metrics"]) == (1, True, {"mAP50": 10.0})
    assert [file["name"] for file in checkpoint["files"]] == ["student.pt"]  # of state.pt nobody hears
    assert {name: checkpoint[name] for name in PLACE} == PLACE
    assert rows[7]["data"] == {**PLACE, "epoch": 1, "name": "report.html", "size": 6, "sha256": sha256}


def test_every_way_of_a_job_is_told(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.claim()
    each_service.progress(held)  # the first that is heard of the trainer
    lose(each_service)
    with each_service.database.transaction() as session:
        lifecycle.requeue(session, claims.claim(session, "worker-2", 60))
    held = each_service.claim()
    each_service.client.post(f"/v1/jobs/{job_id}/cancel")
    each_service.client.post(f"/v1/jobs/{job_id}/cancel")  # changes nothing
    each_service.finish(held, Ending(Status.CANCELLED, Reason.USER_CANCELLED))

    assert moves(each_service, job_id) == [
        (None, "queued", 0, None),
        ("queued", "starting", 1, None),
        ("starting", "running", 1, None),
        ("running", "queued", 1, "worker_lost"),
        ("queued", "starting", 2, None),
        ("starting", "queued", 2, "drain"),
        ("queued", "starting", 3, None),
        ("starting", "cancelling", 3, None),
        ("cancelling", "cancelled", 3, "user_cancelled"),
    ]


def test_moves_that_repair_are_told(each_service: Service) -> None:
    lost = each_service.job(Status.RUNNING)
    lose(each_service, most=0)
    gone = each_service.job()
    held = each_service.bring(gone, Status.CANCELLING)
    lose(each_service)
    waits = each_service.submit(each_service.dataset(), model={"job": each_service.job()})["id"]
    source = each_service.client.get(f"/v1/jobs/{waits}").json()["spec"]["model"]["job"]
    each_service.client.post(f"/v1/jobs/{source}/cancel")
    with each_service.database.transaction() as session:
        expiry.fail_blocked(session)

    assert moves(each_service, lost)[-1] == ("running", "failed", 1, "worker_lost")
    assert moves(each_service, gone)[-1] == ("cancelling", "cancelled", held.attempt, "user_cancelled")
    assert moves(each_service, waits)[-1] == ("queued", "failed", 0, "dependency_failed")


def test_what_is_refused_or_rolled_back_is_not_told(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    before = told(each_service, job_id)

    with each_service.database.transaction() as session:
        lifecycle.record_warning(session, held, "x", "is lost with its transaction")
        session.rollback()
    assert told(each_service, job_id) == before
    each_service.end(held, Status.FAILED)
    with pytest.raises(Fenced):
        each_service.epoch(held, 1)

    assert [row["type"] for row in told(each_service, job_id)[len(before) :]] == ["status"]


def test_numbers_have_no_gap_whoever_writes_at_once(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)

    def train(first: int) -> None:
        for number in range(first, first + 15):
            each_service.epoch(held, number)

    threads = [threading.Thread(target=train, args=(first,)) for first in (1, 101, 201)]
    for thread in threads:
        thread.start()
    each_service.client.post(f"/v1/jobs/{job_id}/cancel")
    for thread in threads:
        thread.join(60)

    rows = told(each_service, job_id)
    assert [row["seq"] for row in rows] == list(range(1, 3 + 45 + 1 + 1))
    assert sorted(row["data"]["epoch"] for row in rows if row["type"] == "epoch") == [
        *range(1, 16), *range(101, 116), *range(201, 216)
    ]  # fmt: skip


def test_a_write_that_is_repeated_is_told_once(service: Service) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    for _ in range(2):
        service.epoch(held, 1)

    assert [row["type"] for row in told(service, held.id)].count("epoch") == 1


def test_a_trainer_that_tells_without_end_is_cut_short(service: Service) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    with service.database.transaction() as session:
        session.add(JobEvent(job_id=held.id, seq=events.MOST - 2, type="epoch", attempt=1, data={}))
    for number in range(1, 5):
        service.epoch(held, number)
    service.end(held, Status.SUCCEEDED)

    rows = told(service, held.id, after=events.MOST - 2)

    assert [row["type"] for row in rows] == ["epoch", "warning", "status"]
    assert rows[1]["data"]["code"] == "more_events"
    assert (rows[2]["data"]["from"], rows[2]["data"]["to"]) == ("running", "succeeded")


def test_pages(each_service: Service) -> None:
    held = each_service.bring(each_service.job(), Status.RUNNING)
    for number in range(1, 5):
        each_service.epoch(held, number)
    address, seen, after = f"/v1/jobs/{held.id}/events", [], 0
    while after is not None:
        page = each_service.client.get(address, params={"limit": 3, "after": after}).json()
        seen += [row["seq"] for row in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        after = page["next"]

    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert each_service.client.get(address, params={"after": 7}).json() == {"data": [], "has_more": False, "next": None}


@pytest.mark.parametrize("query", ["after=x", "after=-1", f"after={2**31}", "limit=0", "limit=1001"])
def test_bad_queries_name_the_parameter(steady: Service, query: str) -> None:
    response = steady.client.get(f"/v1/jobs/x/events?{query}")

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize("known", ["x", "-1", str(2**31), ""])
def test_a_last_event_id_that_is_none(steady: Service, known: str) -> None:
    response = steady.client.get("/v1/jobs/x/events", headers=STREAM | {"Last-Event-ID": known})

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["errors"][0]["parameter"] == "last-event-id"


def test_the_stream_of_an_ended_job_is_its_list(each_service: Service) -> None:
    job_id = each_service.job(Status.FAILED)
    address = f"/v1/jobs/{job_id}/events"

    whole = each_service.client.get(address, headers=STREAM)
    rest = each_service.client.get(f"{address}?after=1", headers=STREAM | {"Last-Event-ID": "3"})
    nothing = each_service.client.get(address, headers=STREAM | {"Last-Event-ID": "4"})

    assert whole.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (whole.headers["Cache-Control"], whole.headers["X-Accel-Buffering"]) == ("private, no-cache", "no")
    assert [event.id for event in sent(whole.text.split("\n"))] == ["1", "2", "3", "4"]
    assert [(event.id, event.event) for event in sent(rest.text.split("\n"))] == [("4", "status")]
    assert (nothing.status_code, nothing.content) == (204, b"")  # a browser then comes back no more


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html, */*", "application/json"),
        ("application/json, text/event-stream", "application/json"),
        ("Text/Event-Stream;q=0.9, application/json", "text/event-stream; charset=utf-8"),
    ],
)
def test_the_accept_header_decides(steady: Service, accept: str, kind: str) -> None:
    response = steady.client.get(f"/v1/jobs/{steady.job(Status.FAILED)}/events", headers={"Accept": accept})

    assert response.headers["Content-Type"] == kind
