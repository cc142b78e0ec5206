"""The service in figures: what Prometheus reads is what the rows say."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.jobs.workers import service as workers
from api.tables.states import Status
from tests.api.conftest import Service, Start

Figures = dict[tuple[str, ...], float]


def read(service: Service, **headers: str) -> Figures:
    answer = service.client.get("/v1/monitoring", headers=headers).raise_for_status()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_figures_are_what_the_rows_say(each_service: Service, tmp_path: Path) -> None:
    for status in (Status.FAILED, Status.CANCELLED):
        each_service.job(status)
    running = each_service.bring(each_service.job(), Status.RUNNING)
    each_service.publish(running, 1, b"weights", tmp_path)
    each_service.job()
    with each_service.database.transaction() as session:
        workers.beat(session, workers.Presence("w:1", "train", "1", 2), 60)

    figures = read(each_service)

    by_status = {key[1]: value for key, value in figures.items() if key[0] == "rdrkd_jobs"}
    assert by_status == dict.fromkeys(Status, 0.0) | {"queued": 1, "failed": 1, "cancelled": 1, "running": 1}
    assert 0 <= figures["rdrkd_oldest_job_age_seconds", "running"] < 600
    assert figures["rdrkd_oldest_job_age_seconds", "paused"] == 0
    assert 0 < figures["rdrkd_lease_left_seconds",] <= 60
    assert figures["rdrkd_workers", "train"] == 1
    assert figures["rdrkd_workers", "inspect"] == 0
    assert figures["rdrkd_attempt_seconds_count", "failed"] == 1
    assert figures["rdrkd_attempt_seconds_count", "going_on"] == 1
    assert 0 <= figures["rdrkd_attempt_seconds_sum", "going_on"] < 600
    assert figures["rdrkd_job_duration_seconds_count", "train", "failed"] == 1
    assert figures["rdrkd_stored_bytes", "artifacts"] == len(b"weights")
    assert figures["rdrkd_stored_bytes", "datasets"] > 0
    assert figures["rdrkd_storage_free_bytes",] > 0


def test_an_empty_service_has_no_lease_and_no_age(service: Service) -> None:
    figures = read(service)

    assert ("rdrkd_lease_left_seconds",) not in figures
    assert sum(value for key, value in figures.items() if key[0] == "rdrkd_jobs") == 0


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("submit", 403), ("admin", 200)])
def test_they_are_the_admins(start: Start, scope: str, status: int) -> None:
    with start(token="t") as service:
        job = {"Authorization": "Bearer t"}
        dataset = service.client.post("/v1/datasets", files={"file": ("a.zip", b"PK")}, headers=job).json()["id"]

        answer = service.client.get("/v1/monitoring", headers=service.key("ops", scope))

        assert answer.status_code == status
        assert dataset not in answer.text


def test_the_dashboard_asks_for_figures_that_there_are(each_service: Service, tmp_path: Path) -> None:
    each_service.publish(each_service.bring(each_service.job(), Status.RUNNING), 1, b"weights", tmp_path)
    each_service.job(Status.FAILED)
    there = {key[0] for key in read(each_service)}
    dashboard = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text())

    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name for expression in asked for name in re.findall(r"rdrkd_\w+", expression)}

    assert named
    assert named <= there
