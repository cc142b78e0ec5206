"""Reading jobs: polling with ETags, progress, metrics, pages and filters."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.jobs.lifecycle import Ending
from api.tables.states import Status
from api.tables.webhooks import Delivery
from rdrkd.reasons import Reason
from tests.api.conftest import NOBODY, Service
from tests.api.uploads.models.registered import student


def test_polling_costs_nothing_until_something_changes(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    address = f"/v1/jobs/{job_id}"
    etag = each_service.client.get(address).headers["ETag"]

    unchanged = each_service.client.get(address, headers={"If-None-Match": f'"other", {etag}'})
    each_service.progress(held, completed=3, total=10, epoch=2, epochs=5, eta_seconds=12.5)
    changed = each_service.client.get(address, headers={"If-None-Match": etag})

    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    assert (changed.status_code, changed.headers["ETag"] != etag) == (200, True)
    job = changed.json()
    assert job["progress"] == {"completed": 3, "total": 10, "unit": "batch"}
    assert (job["phase"], job["epoch"], job["epochs"], job["eta_seconds"]) == ("training", 2, 5, 12.5)
    assert (job["attempt"], job["worker"], job["status"]) == (1, "worker-1", "running")


@pytest.mark.parametrize("known", ["*", 'W/"0", *', '"nothing"'])
def test_if_none_match_forms(service: Service, known: str) -> None:
    response = service.client.get(f"/v1/jobs/{service.job()}", headers={"If-None-Match": known})

    assert response.status_code == (304 if known == "*" else 200)


def test_metrics_hold_every_epoch_in_order(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    for number in (1, 2, 3, 2):  # a resumed run trains an epoch again
        each_service.epoch(held, number)

    epochs = each_service.client.get(f"/v1/jobs/{job_id}/metrics").json()["data"]
    job = each_service.client.get(f"/v1/jobs/{job_id}").json()

    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert (epochs[0]["losses"], epochs[0]["lr"], epochs[0]["attempt"]) == ({"box": 1.5}, 0.01, 1)
    assert job["metrics"] == {"mAP50": 20.0}


def test_a_failed_job_says_why(service: Service) -> None:
    job_id = service.job()
    held = service.bring(job_id, Status.RUNNING)
    problems = [{"where": "data.yaml", "detail": "expected 10 names, got 9"}]
    service.finish(held, Ending(Status.FAILED, Reason.DATASET_INVALID, "9 names", problems))

    job = service.client.get(f"/v1/jobs/{job_id}").json()

    assert (job["reason"], job["message"], job["problems"]) == ("dataset_invalid", "9 names", problems)
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


def test_pages_lose_and_repeat_nothing_while_jobs_are_added(each_service: Service) -> None:
    dataset = each_service.dataset()
    jobs = [each_service.submit(dataset)["id"] for _ in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = each_service.client.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        if not page["has_more"]:
            break
        query["after"] = page["next"]
        each_service.submit(dataset)

    assert seen == jobs[::-1]


@pytest.mark.slow
def test_filters(each_service: Service) -> None:
    dataset = each_service.dataset()
    plain = each_service.submit(dataset)["id"]
    labelled = each_service.submit(dataset, labels={"team": "uav", "odd key,{}\\": "=", "run.2": "a=b"})["id"]
    evaluation = each_service.submit(dataset, kind="evaluate", model={"job": plain})["id"]
    each_service.client.post(f"/v1/jobs/{plain}/cancel")

    def ids(**query: Any) -> list[str]:
        return [
            job["id"] for job in each_service.client.get("/v1/jobs", params=query).raise_for_status().json()["data"]
        ]

    assert ids(status="cancelled") == [plain]
    assert ids(status=["queued", "cancelled"]) == [evaluation, labelled, plain]
    assert ids(status="running") == []
    assert ids(kind="evaluate") == [evaluation]
    assert ids(label="team=uav") == [labelled]
    assert ids(label=["team=uav", "run.2=a=b"]) == [labelled]
    assert ids(label=["team=uav", "run.2=b"]) == []
    assert ids(label="team=UAV") == []


def test_filters_by_name_moment_and_study(each_service: Service) -> None:
    dataset = each_service.dataset()
    first = each_service.submit(dataset, name="n from l")
    second = each_service.submit(dataset, name="n from l%")
    body = {
        "name": "tiny", "dataset": dataset, "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 1}},
        "student": {"architecture": "yolov8n"}, "methods": ["none"], "seeds": [0], "train": {"epochs": 1},
    }  # fmt: skip
    study = each_service.client.post("/v1/studies", json=body).raise_for_status().json()
    members = [study["members"][0]["job"], study["teacher"]["job"]]

    def ids(**query: Any) -> list[str]:
        return [
            job["id"] for job in each_service.client.get("/v1/jobs", params=query).raise_for_status().json()["data"]
        ]

    assert ids(name="n from l") == [first["id"]]
    assert ids(name="N FROM L") == []
    assert ids(created_after=second["created_at"]) == [*members, second["id"]]
    assert ids(created_before=second["created_at"]) == [first["id"]]
    assert ids(created_after=first["created_at"], created_before=second["created_at"]) == [first["id"]]
    shifted = datetime.fromisoformat(second["created_at"]).astimezone(timezone(timedelta(hours=-5))).isoformat()
    assert ids(created_before=shifted) == [first["id"]]
    assert ids(study=study["id"]) == members
    assert ids(study=study["id"], kind="compare") == []
    assert ids(study="stu_" + "0" * 32) == []


@pytest.mark.parametrize(
    "query",
    [
        "name=",
        "name=%00",
        "study=x",
        "created_after=1764547200",
        "created_after=2026-12-01T18:00:00",
        "created_before=yesterday",
        "created_before=9999-12-31T23:59:59-12:00",
        "limit=0",
        "limit=101",
        "limit=x",
        "status=done",
        "kind=quantize",
        "after=1",
        "after=%00",
        "label=x",
        'label="=x',
    ],
)
def test_bad_queries_name_the_parameter(steady: Service, query: str) -> None:
    response = steady.client.get(f"/v1/jobs?{query}")

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_unknown_jobs(each_service: Service) -> None:
    for job_id in (NOBODY["job"], NOBODY["dataset"], "x", "%00", "..%2f..%2fetc", "job_%F0%9F"):
        for tail in ("", "/metrics", "/weights", "/artifacts", "/artifacts/student.pt"):
            response = each_service.client.get(f"/v1/jobs/{job_id}{tail}")
            assert (response.status_code, response.json()["code"]) == (404, "not_found"), job_id


def test_a_job_that_stops_shows_no_time_that_is_left(service: Service) -> None:
    job = service.job()
    held = service.bring(job, Status.RUNNING)
    service.progress(held, completed=3, total=10, epoch=2, epochs=5, eta_seconds=60.0)
    assert service.client.get(f"/v1/jobs/{job}").json()["eta_seconds"] == 60.0
    for action in ("pause", "cancel"):
        service.client.post(f"/v1/jobs/{job}/{action}").raise_for_status()
        assert service.client.get(f"/v1/jobs/{job}").json()["eta_seconds"] is None, action


def test_only_jobs_that_hand_back_weights_link_to_them(service: Service) -> None:
    hook = {"url": "https://93.184.216.34/hook"}
    service.client.post("/v1/webhooks", json=hook).raise_for_status()
    teacher = student(service)
    of = {"dataset": service.dataset(), "model": {"job": teacher}}
    jobs = {
        "train": service.submit(of["dataset"]),
        "evaluate": service.client.post("/v1/jobs", json={"kind": "evaluate", **of}).raise_for_status().json(),
        "export": service.client.post("/v1/jobs", json={"kind": "export", **of, "export": {"format": "onnx"}}).json(),
    }
    for kind, job in jobs.items():
        with_weights = kind == "train"
        assert (job["links"]["weights"] is not None) == with_weights, kind
        service.bring(job["id"], Status.SUCCEEDED)
    with service.database.transaction() as session:
        sent = {row.subject: json.loads(row.body)["data"] for row in session.scalars(select(Delivery))}
    for kind, job in jobs.items():
        assert ("weights" in sent[job["id"]]["links"]) == (kind == "train"), kind


def test_an_ended_jobs_metrics_are_the_students(each_service: Service, tmp_path: Path) -> None:
    """Those of the student alone, which is trained last, stay beside them."""
    held = each_service.with_baseline(epochs=2)
    address = f"/v1/jobs/{held.id}"
    for epoch in (1, 2):
        each_service.epoch(held, epoch)
    assert each_service.client.get(address).json()["metrics_alone"] is None
    for epoch in (3, 4):
        each_service.progress(held, epoch=epoch, epochs=4)
        each_service.epoch(held, epoch, part="alone")
    each_service.warn(held, "nan_recovery", "went back", epoch=3)
    each_service.checkpoint(held, 4, tmp_path)
    each_service.end(held, Status.SUCCEEDED)

    job = each_service.client.get(address).json()

    assert (job["metrics"], job["metrics_alone"]) == ({"mAP50": 20.0}, {"mAP50": 40.0})
    (checkpoint,) = each_service.client.get(f"{address}/checkpoints").json()["data"]
    of_job, of_warning, of_checkpoint = (
        (shown["epoch"], shown["part"], shown["part_epoch"], shown["part_epochs"])
        for shown in (job, job["warnings"][0], checkpoint)
    )
    assert of_job == of_checkpoint == (4, "alone", 2, 2)
    assert of_warning == (3, "alone", 1, 2)
    (listed,) = (each for each in each_service.client.get("/v1/jobs").json()["data"] if each["id"] == held.id)
    assert listed == {name: job[name] for name in listed}
