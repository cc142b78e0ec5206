"""A study through the service: its worker killed, then everything, and a report of all its members at the end."""

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser import chromium
from tests.end_to_end.conftest import SERVERS, Service, quick, until

pytestmark = pytest.mark.slow

METHODS = ["none", "decoupled", "ultralytics"]


def spec(dataset: str) -> dict[str, Any]:
    return {
        "name": "six", "dataset": dataset, "teacher": {"model": {"architecture": "yolov8n-half"}, "train": quick(1)},
        "student": {"architecture": "yolov8n-half"}, "methods": METHODS, "seeds": [0, 1], "train": quick(2),
    }  # fmt: skip


def get(service: Service, study: dict[str, Any]) -> dict[str, Any]:
    return dict(service.client.get(study["links"]["self"]).json())


def succeeded(service: Service, study: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the member jobs that have succeeded."""
    ids = [member["job"] for member in get(service, study)["members"] if member["status"] == "succeeded"]
    return {job_id: service.job(job_id) for job_id in ids}


def kill_everything(service: Service) -> None:
    for process in service.processes:
        process.kill()
    for process in service.processes:
        process.wait()
    service.processes.clear()


@SERVERS
def test_a_study_survives_its_worker_and_a_restart_of_everything(service: Service, scenes: Path) -> None:
    service.start("reaper")
    service.start("inspect")
    dataset = service.upload("datasets", scenes)
    assert service.checked("datasets", dataset)["status"] == "ready"
    worker = service.start("train")
    answer = service.client.post("/v1/studies", json=spec(dataset))
    assert answer.status_code == 202, answer.text
    study = answer.json()
    assert len(study["members"]) == 6

    until(lambda: any(m["status"] == "running" for m in get(service, study)["members"]), 240)
    worker.kill()
    worker.wait()
    service.start("train")
    before = until(lambda: (done := succeeded(service, study)) and len(done) >= 2 and done, 300)
    kill_everything(service)
    service.start_api()
    service.start("reaper")
    service.start("train")

    def over() -> bool:
        return get(service, study)["report"] is not None and get(service, study)["report"]["current"]

    until(lambda: get(service, study)["status"] == "succeeded" and over(), 400)
    seen = get(service, study)
    assert seen["jobs"] == {"succeeded": 7}, service.logs()
    assert {(m["method"], m["seed"]) for m in seen["members"]} == {(m, s) for m in METHODS for s in (0, 1)}
    assert all(member["AP"] is not None for member in seen["members"])
    jobs = [service.job(member["job"]) for member in seen["members"]]
    assert sum(job["lost_workers"] for job in jobs) >= 1
    for job in jobs:  # each once to the end: what was done before the restart is as it was
        assert job["attempt"] == 1 + job["lost_workers"]
        assert job == before.get(job["id"], job)

    report = study["links"]["report"]
    found = json.loads(service.client.get(report, params={"format": "json"}).text)
    assert {(m["method"], m["seed"]) for m in found["members"]} == {(m, s) for m in METHODS for s in (0, 1)}
    assert len({m["teacher_sha256"] for m in found["members"] if m["method"] != "none"}) == 1
    assert [len(teacher["sha256"]) for teacher in found["teachers"].values()] == [64]
    lines = list(csv.DictReader(io.StringIO(service.client.get(report, params={"format": "csv"}).text)))
    assert len(lines) == 6
    text = service.client.get(report, params={"format": "markdown"}).text
    assert "decoupled: AP" in text
    assert "Order by AP" in text
    page = service.client.get(report)
    assert page.headers["Content-Disposition"].startswith("attachment")
    assert "data:image/png;base64," in page.text
    drawn = service.client.get(f"/v1/jobs/{seen['report']['job']}/artifacts").json()["data"]
    assert {"curves.png", "differences.png", "panel.png", "report.html"} <= {file["name"] for file in drawn}
    with contextlib.suppress(pytest.skip.Exception):  # without a browser the rest has been tested all the same
        read_in_the_console(service, study["id"])


def read_in_the_console(service: Service, study: str) -> None:
    """Read the study, its pictures, its report and the comparison of its jobs in a browser, with its owner's key."""
    with chromium() as browser:
        page = browser.new_page(base_url=f"http://127.0.0.1:{service.port}")
        page.set_default_timeout(120_000)
        page.goto(f"/studies/{study}")
        page.get_by_label("API key").fill("e2e-token")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="six")).to_be_visible()
        for method in ("student alone", "decoupled", "ultralytics"):
            expect(page.get_by_role("rowheader", name=method, exact=True)).to_be_visible()
        for picture in page.locator("img.preview").all():
            picture.scroll_into_view_if_needed()
            expect(picture).to_have_js_property("complete", True)
            assert picture.evaluate("image => image.naturalWidth") > 100
        assert page.locator("img.preview").count() == 3
        assert Axe().run(page).violations_count == 0
        report = page.get_by_role("link", name="Read it")
        assert "Order by AP" in page.request.get(str(report.get_attribute("href"))).text()
        page.get_by_role("link", name="Compare its jobs").click()
        expect(page.locator("main")).to_contain_text("AP_S")
