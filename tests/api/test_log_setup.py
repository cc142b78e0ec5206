"""The service's own log: a line a record, with what it is about, and without secrets."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api import log_setup
from api.settings import LogFormat, Settings
from tests import journals
from tests.api.conftest import Service, Start


def requests(lines: journals.Lines) -> list[dict[str, Any]]:
    return [line for line in lines() if line["logger"] == "api.accesslog"]


def test_every_request_has_its_line(service: Service) -> None:
    job_id = service.job()
    with journals.kept() as lines:
        answer = service.client.get(f"/v1/jobs/{job_id}?wait=0")
        service.client.get("/nowhere")

    known, unknown = requests(lines)
    assert (known["event"], known["level"], known["method"], known["status"]) == ("request", "info", "GET", 200)
    assert (known["route"], known["job_id"], known["key"]) == ("/v1/jobs/{job_id}", job_id, "loopback")
    assert known["request_id"] == answer.headers["X-Request-ID"]
    assert 0 <= known["duration_ms"] < 60_000
    assert datetime.now(UTC) - datetime.fromisoformat(known["time"]) < timedelta(minutes=1)
    assert (unknown["status"], unknown["method"], "route" in unknown) == (404, "GET", False)


def test_keys_queries_and_bodies_are_not_logged(start: Start) -> None:
    with start(token="the-token") as service:
        alice = service.key("alice")
        (key,) = service.client.get("/v1/api-keys", headers={"Authorization": "Bearer the-token"}).json()["data"]
        with journals.kept() as lines:
            service.client.get("/v1/jobs?name=in-the-query", headers=alice)
            service.client.post("/v1/jobs", headers=alice, json={"kind": "in-the-body"})
            service.client.get("/v1/jobs", headers={"Authorization": "Bearer rdrkd_wrong-key"})
            service.client.get("/v1/jobs", headers={"Authorization": "Bearer the-token"})

    assert [line.get("key") for line in requests(lines)] == [key["id"], key["id"], None, "token"]
    secrets = [alice["Authorization"].removeprefix("Bearer "), "the-token", "wrong-key", "in-the-query", "in-the-body"]
    assert not [secret for secret in secrets if secret in json.dumps(lines())]


@pytest.mark.parametrize("given", ["7f3a2b", "0d9f1c52-7a53-4f8e-9f36-4a0b8f6c1a55", "A.b_c-" + "9" * 34])
def test_a_well_formed_request_id_is_kept(service: Service, given: str) -> None:
    with journals.kept() as lines:
        answer = service.client.get("/v1/jobs?limit=0", headers={"X-Request-ID": given})

    assert (answer.status_code, answer.headers["X-Request-ID"], answer.json()["instance"]) == (422, given, given)
    assert requests(lines)[0]["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 41, "a\tb", "ä", '{"a":1}', "../x"])
def test_another_request_id_is_replaced(service: Service, given: str) -> None:
    answer = service.client.get("/v1/jobs", headers=[("X-Request-ID", given.encode())])

    assert re.fullmatch("req_[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_a_thread_logs_about_what_it_was_started_for() -> None:
    def say() -> None:
        logging.getLogger("x").warning("said")

    with journals.kept(worker="w:1") as lines:
        with log_setup.about(job_id="job_1", attempt=2, request_id=None):
            carried, other = (threading.Thread(target=target) for target in (log_setup.carrying(say), say))
        for thread in (carried, other):
            thread.start()
            thread.join()

    first, second = lines()
    assert (first["job_id"], first["attempt"], first["worker"]) == ("job_1", 2, "w:1")
    assert ("request_id" in first, "job_id" in second, second["worker"]) == (False, False, "w:1")


def test_text_is_for_people_and_shows_no_values_of_variables() -> None:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(log_setup.formatter("text").format(record))  # type: ignore[method-assign]
    log = logging.getLogger("tests.text")
    log.addHandler(handler)
    secret = "hush" * 2
    try:
        with log_setup.about(job_id="job_1"):
            int(f"x{len(secret)}")
    except ValueError:
        log.exception("it %s", "failed")
    finally:
        log.removeHandler(handler)

    assert "it failed" in records[0]
    assert "Traceback" in records[0]
    assert secret not in records[0]


def test_a_level_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDRKD_LOG_LEVEL", "warning")

    assert Settings().log_level == "WARNING"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words", "loggers"),
    [
        ("api", "Uvicorn running", {"uvicorn.error", "alembic.runtime.migration"}),
        ("api.reaper", "swept", {"api.reaper"}),
    ],
)
def test_every_line_of_a_process_is_json(
    tmp_path: Path, start: Start, module: str, words: str, loggers: set[str]
) -> None:
    if module != "api":
        with start():  # makes the database
            pass

    with journals.process(tmp_path / "var", module) as logged:
        logged.wait(words)

    assert {line["logger"] for line in logged.lines()} >= loggers
    assert all(line.keys() >= {"time", "level", "event"} for line in logged.lines())


@pytest.mark.slow
def test_a_worker_says_which_request_it_works_for(tmp_path: Path, start: Start) -> None:
    # The worker looks for rows by itself, too: here the ring is to come first.
    worker = ("worker", "--queue", "inspect")
    with (
        start(broker_url=f"sqla+sqlite:///{tmp_path}/var/broker.db") as service,
        journals.process(tmp_path / "var", *worker, RDRKD_LOOK_SECONDS="60") as logged,
    ):
        while not service.client.get("/v1/workers").raise_for_status().json()["data"]:
            time.sleep(0.1)
        time.sleep(2)
        sent = {"files": {"file": ("a.zip", b"x")}, "headers": {"X-Request-ID": "mine"}}
        row_id = service.client.post("/v1/datasets", **sent).raise_for_status().json()["id"]
        logged.wait(f"{row_id} is ")

    lines = logged.lines()
    about = [line for line in lines if line.get("upload_id") == row_id]
    assert about
    assert {(line["request_id"], line["attempt"]) for line in about} == {("mine", 1)}
    assert {line["logger"] for line in lines} >= {"celery.worker.strategy", "worker.inspection"}
    assert len({line["worker"] for line in lines}) == 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_database_that_fails_logs_no_values(each_service: Service, form: LogFormat) -> None:
    """The statement fails in each database's own way; what it held is in nobody's log."""
    with each_service.database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("ALTER TABLE webhook RENAME TO gone"))
        else:  # PostgreSQL shows the row that it refuses
            connection.execute(text("ALTER TABLE webhook ADD CHECK (false) NOT VALID"))
    asked = {"url": "https://9.9.9.9/the-path", "name": "the-name"}
    with journals.text(form) as lines:
        answer = each_service.client.post("/v1/webhooks", json=asked)

    assert answer.status_code in (500, 503)
    assert "INSERT INTO webhook" in lines()
    assert [secret for secret in ("whsec_", "the-path", "the-name") if secret in lines().replace("whsec_***", "")] == []


@pytest.mark.slow
def test_settings_that_are_wrong_are_told_without_the_secrets_among_them(tmp_path: Path) -> None:
    ours = {"RDRKD_DATA_DIR": str(tmp_path), "RDRKD_TOKEN": "s3cret", "RDRKD_DATABASE_URL": "postgresql://u:s3cret@h/n"}
    wrong = {"RDRKD_HEARTBEAT_SECONDS": "100", "RDRKD_S3_SECRET_ACCESS_KEY": "s3cret"}
    for module in ("api", "api.reaper"):
        command = [sys.executable, "-m", module]
        done = subprocess.run(command, env=os.environ | ours | wrong, capture_output=True, text=True, timeout=60)

        assert "heartbeat_seconds below lease_seconds" in done.stderr
        assert "s3cret" not in done.stderr
