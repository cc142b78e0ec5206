"""The form of a new job: it shows what may be chosen, validates as it is filled in, and says the same as commands."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from api.console.specs import commands, fields_of, spec_of
from rdrkd.spec import JOB_SPEC
from tests.api.conftest import Service
from tests.api.console.conftest import Reader, reader_of

HOSTILE = "x'; touch gone; '\"$(touch gone)`touch gone`<b>\\"
DISTIL: dict[str, Any] = {
    "kind": "distill",
    "name": "night",
    "dataset": "ds_" + "1" * 32,
    "teacher": {"model": "mdl_" + "2" * 32},
    "student": {"architecture": "yolov8n"},
}
SPECS = [
    DISTIL | {"distillation": {"preset": "rdr-kd"}, "train": {"epochs": 5, "lr0": 0.01, "cos_lr": True, "amp": "bf16"}},
    DISTIL | {"distillation": {"losses": [{"name": "decoupled", "weight": 0.1}, {"name": "pkd"}]}, "baseline": True},
    DISTIL | {"student": {"job": "job_" + "3" * 32}, "labels": {"a": "b"}, "priority": 3, "timeout_seconds": 60}
    | {"distillation": {"losses": [{"name": "decoupled", "temperature": 7.0}], "schedule": {"stop_epochs": 1}}},
    {"kind": "train", "dataset": "scenes", "model": {"architecture": "yolov8n"}, "train": {"optimizer": "AdamW"}},
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_a_form_that_shows_a_spec_makes_it_again(spec: dict[str, Any]) -> None:
    assert spec_of(fields_of(spec), spec) == spec
    JOB_SPEC.validate_python(spec)


def test_a_form_is_shown_checked_and_submitted(open_service: Service) -> None:
    dataset, reader = open_service.dataset(), Reader(open_service.client)
    shown = reader.get("/jobs/new")
    for offered in (f'value="{dataset}"', 'value="architecture:yolov8n"', 'value="rdr-kd"', 'name="loss.decoupled"'):
        assert offered in shown
    fields = {"kind": "train", "dataset": dataset, "student": "architecture:yolov8n", "train.epochs": "3"}
    checked = reader.post("/jobs/new/check", **fields)
    assert "It would be accepted" in checked.text
    assert "curl -sf" in checked.text
    made = reader.post("/jobs/new", **fields)
    assert made.status_code == 303
    job = open_service.client.get("/v1" + made.headers["location"]).json()
    assert (job["kind"], job["spec"]["train"]) == ("train", {"epochs": 3})
    clone = reader.get(f"/jobs/new?from={job['id']}")
    assert re.search(r'name="train.epochs"[^>]*value="3"', clone)
    assert re.search(r"<details><summary>\d+ more settings</summary>", clone)


def test_settings_that_are_set_are_not_hidden(open_service: Service) -> None:
    shown = Reader(open_service.client).get("/jobs/new?kind=train&train.nbs=8&train.cos_lr=true")
    assert re.search(r"<details open><summary>\d+ more settings, 2 set</summary>", shown)
    assert re.findall(r"<option[^>]*>(SGD[^<]*)</option>", shown) == ["SGD (default)"]


def test_a_form_that_nobody_has_filled_in_asks_instead_of_refusing(open_service: Service) -> None:
    checked = Reader(open_service.client).post("/jobs/new/check", kind="distill", preset="rdr-kd").text
    assert "Choose dataset, teacher, student." in checked
    assert "refused" not in checked


def test_what_would_be_refused_is_said_by_field_and_the_form_keeps_it(open_service: Service) -> None:
    reader = Reader(open_service.client)
    fields = {"kind": "distill", "student": "architecture:yolov8n", "train.epochs": "-1", "name": HOSTILE}
    checked = reader.post("/jobs/new/check", **fields).text
    assert "It would be refused" in checked
    assert "/train/epochs" in checked
    refused = reader.post("/jobs/new", **fields)
    assert refused.status_code == 422
    assert re.search(r'name="train.epochs"[^>]*value="-1"', refused.text)
    assert "<b>" not in refused.text


@pytest.mark.slow
def test_a_read_key_may_look_and_not_submit(closed: Service) -> None:
    reader = reader_of(closed, owner="alice", scope="read")
    assert '<button class="main" disabled>' in reader.get("/jobs/new")
    assert "/jobs/new" not in reader.get("/")
    assert reader.post("/jobs/new", kind="train").status_code == 403


@pytest.mark.parametrize("name", [HOSTILE, "two\nlines", "END", "ünï"])
def test_commands_carry_a_spec_unchanged_whatever_its_name(name: str, tmp_path: Any) -> None:
    spec = DISTIL | {"name": name}
    texts = dict(commands(spec, "http://127.0.0.1:8000"))
    stubs = 'curl() { printf "%s" "${@: -1}"; }; rdrkd() { cat job.json; };\n'
    for shell in ("curl", "command line"):
        said = subprocess.run(["bash", "-c", stubs + texts[shell]], cwd=tmp_path, capture_output=True, text=True)
        assert json.loads(said.stdout) == spec
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]
    ours = texts["Python"].replace("from rdrkd.client import Client", CLIENT)
    said = subprocess.run([sys.executable, "-c", ours], capture_output=True, text=True)
    assert json.loads(said.stdout) == spec


CLIENT = """
import json
from unittest.mock import MagicMock
Client = MagicMock()
Client.return_value.__enter__.return_value.submit = lambda spec: print(json.dumps(spec)) or MagicMock()
"""
