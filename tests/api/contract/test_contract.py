"""Schemathesis over the whole document, all checks on: no 5xx, and no answer that the document does not know."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.tables.states import Status
from tests.api.conftest import Listen, Service
from tests.api.studies import test_studies as studies
from tests.api.uploads.resumable.test_uploads import begin

HERE = Path(__file__).parent
UNLIMITED = {"rate_default": "", "rate_submit": "", "rate_download": "", "rate_stranger": "", "quota_queued_jobs": 0}
INWARD = {"webhooks_allow_private": True, "webhooks_allow_http": True}  # so that no webhook calls a stranger
OPERATOR = "the-operators-token-of-a-test"
STATES = (Status.QUEUED, Status.RUNNING, Status.PAUSED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


def known(service: Service) -> dict[str, list[str]]:
    """Put in one of everything, jobs in every state that lasts; give their ids by the name that a path gives them."""
    webhook = {"name": "ours", "url": "http://127.0.0.1:9/x", "events": ["job.failed"]}
    return {
        "dataset_id": [service.dataset()],
        "model_id": [service.upload("models", ("a.pt", b"weights"))],
        "job_id": [service.job(status) for status in reversed(STATES)],
        "study_id": [studies.post(service)["id"]],
        "upload_id": [begin(service).rpartition("/")[2]],
        "webhook_id": [service.client.post("/v1/webhooks", json=webhook).raise_for_status().json()["id"]],
        "key_id": [key["id"] for key in service.client.get("/v1/api-keys").raise_for_status().json()["data"][:1]],
        "name": ["student.pt"],
        "number": ["0"],
    }


def sound(service: Service, dataset: str) -> dict[str, Any]:
    """Return bodies that are accepted, by method and path."""
    architecture = {"architecture": "yolov8n"}
    return {
        "POST /v1/jobs": {"kind": "train", "dataset": dataset, "model": architecture},
        "POST /v1/studies": {
            "name": "linked", "dataset": dataset, "student": architecture, "methods": ["none"],
            "teacher": {"model": architecture, "train": {"epochs": 1}},
        },
        "POST /v1/webhooks": {"name": "linked", "url": "http://127.0.0.1:9/x", "events": ["job.failed"]},
        "POST /v1/api-keys": {"name": "linked", "owner": "alice", "scope": "read"},
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("scope", "phases"),
    [(scope, "examples,fuzzing") for scope in ("read", "submit", "admin")] + [("admin", "coverage")],
)
def test_no_answer_that_the_document_does_not_know(listen: Listen, scope: str, phases: str, tmp_path: Path) -> None:
    service = listen(**UNLIMITED, **INWARD, token=OPERATOR)
    service.key("alice", "read")  # one that may be revoked
    service.client.headers.update(service.key("alice", "admin"))
    # Whoever may revoke keys comes upon their own, sooner or later; the operator's token cannot be revoked.
    authorization = f"Bearer {OPERATOR}" if scope == "admin" else service.key("alice", scope)["Authorization"]
    there = json.dumps(known(service))
    options = ("--phases", phases, "--max-examples", "8")
    output = schemathesis(service, authorization, tmp_path, *options, RDRKD_CONTRACT_KNOWN=there)
    assert "No issues found" in output


@pytest.mark.slow
def test_no_such_answer_along_the_links_of_the_document(listen: Listen, tmp_path: Path) -> None:
    """Create, then read, change, pause, cancel, delete what was created, in many orders."""
    service = listen(**UNLIMITED, **INWARD)
    service.client.headers.update(service.key("alice", "admin"))
    authorization = service.key("alice", "admin")["Authorization"]
    bodies = json.dumps(sound(service, service.dataset()))
    names = json.dumps({"name": ["student.pt"]})  # the ids come along the links
    # Hypothesis gives up early with some seeds; with this one it goes on to the number of examples.
    options = ("--phases", "stateful", "--mode", "positive", "--max-examples", "150", "--seed", "4")
    environment = {"RDRKD_CONTRACT_KNOWN": names, "RDRKD_CONTRACT_SOUND": bodies}
    output = schemathesis(service, authorization, tmp_path, *options, **environment)
    assert "No issues found" in output
    covered = re.search(r"API Links:\s+(\d+) covered", output)
    assert covered is not None
    assert int(covered[1]) >= 12, output[-3000:]


def schemathesis(service: Service, authorization: str, tmp_path: Path, *options: str, **environment: str) -> str:
    """Run Schemathesis with every check, and return what it prints."""
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
                *("run", f"{service.client.base_url}/openapi.json", "--header", f"Authorization: {authorization}"),
                *("--checks", "all", "--seed", "1", *options),
                *("--continue-on-failure", "--request-timeout", "30", "--warnings", "off"),
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE),
                "SCHEMATHESIS_HOOKS": "hooks",
                **environment,
            },
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=850,
            check=False,
        )

    assert result.returncode == 0, output.read_text()[-20_000:]
    return output.read_text()
