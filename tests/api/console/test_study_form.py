"""The form of a new study: it validates as it is filled in, says the same as commands, and submits."""

import json
import subprocess
import sys
from typing import Any

import pytest

from api.console.specs import commands
from api.console.study_specs import study_of
from tests.api.conftest import Service
from tests.api.console.conftest import Reader, reader_of
from tests.api.console.test_forms import CLIENT, HOSTILE

FIELDS = {
    "name": "ablation", "teacher": "architecture:yolov8n", "teacher.epochs": "2",
    "student": "architecture:yolov8n-half",
    "method.none": "on", "method.rdr-kd": "on", "method.controls": "on", "seeds": "0-1", "decide": "on",
    "decide.metric": "AP_S", "decide.least": "0.5", "train.epochs": "1",
}  # fmt: skip


def test_a_study_is_checked_and_submitted(open_service: Service) -> None:
    dataset, reader = open_service.dataset(), Reader(open_service.client)
    assert 'href="/studies/new"' in reader.get("/studies")
    shown = reader.get("/studies/new")
    for offered in (f'value="{dataset}"', 'name="method.none" checked', 'name="method.table2"', 'value="0, 1, 2"'):
        assert offered in shown
    checked = reader.post("/studies/new/check", dataset=dataset, **FIELDS).text
    assert "It would be accepted: 13 jobs, each of 6 methods with each seed." in checked
    assert "/v1/studies" in checked
    assert "submit_study" in checked
    assert open_service.client.get("/v1/studies").json()["data"] == []
    made = reader.post("/studies/new", dataset=dataset, **FIELDS)
    assert made.status_code == 303
    study = open_service.client.get("/v1" + made.headers["location"]).json()
    assert study["spec"]["decide"] == {"metric": "AP_S", "least": 0.5}
    assert study["spec"]["teacher"]["train"]["epochs"] == 2
    assert len(study["members"]) == 10, "the control of the same time waits for the times"


def test_what_would_be_refused_is_said_by_field_and_the_form_keeps_it(open_service: Service) -> None:
    reader = Reader(open_service.client)
    empty = reader.post("/studies/new/check", **{"method.none": "on", "seeds": "0"}).text
    assert "Choose name, dataset, teacher, student." in empty
    fields = FIELDS | {"name": HOSTILE, "seeds": "0, x", "dataset": open_service.dataset()}
    checked = reader.post("/studies/new/check", **fields).text
    assert "It would be refused" in checked
    assert "/seeds/1" in checked
    refused = reader.post("/studies/new", **fields)
    assert refused.status_code == 422
    assert 'value="0, x"' in refused.text
    assert "<b>" not in refused.text


def test_a_read_key_may_look_and_not_submit(closed: Service) -> None:
    reader = reader_of(closed, owner="alice", scope="read")
    assert '<button class="main" disabled>' in reader.get("/studies/new")
    assert "/studies/new" not in reader.get("/studies")
    assert reader.post("/studies/new", **FIELDS).status_code in (403, 422)


@pytest.mark.parametrize("name", [HOSTILE, "two\nlines"], ids=["hostile", "lines"])
def test_commands_carry_a_study_unchanged(name: str, tmp_path: Any) -> None:
    spec = study_of(FIELDS) | {"name": name}
    texts = dict(commands(spec, "http://127.0.0.1:8000"))
    stubs = 'curl() { printf "%s" "${@: -1}"; }; rdrkd() { cat study.json; };\n'
    for shell in ("curl", "command line"):
        said = subprocess.run(["bash", "-c", stubs + texts[shell]], cwd=tmp_path, capture_output=True, text=True)
        assert json.loads(said.stdout) == spec
    ours = texts["Python"].replace("from rdrkd.client import Client", CLIENT.replace(".submit =", ".submit_study ="))
    said = subprocess.run([sys.executable, "-c", ours], capture_output=True, text=True)
    assert json.loads(said.stdout) == spec
