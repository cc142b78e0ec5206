"""How an owner wants a dataset to be read: by every way in, the same for the check and for the runs."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from api.jobs import upload_checks
from api.uploads.datasets.reading import Words
from tests.api.conftest import Service
from worker import inputs, previews

WORDS = {"lenient": True, "keep": True, "divide": "val=0.2, seed=3,prefix=_"}


def _bytes() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        opened.writestr(zipfile.ZipInfo("a.txt"), "x")  # of no moment: the same bytes each time
    return made.getvalue()


def _form(service: Service, **fields: str) -> Any:
    return service.client.post("/v1/datasets", files={"file": ("d.zip", _bytes())}, data=fields)


def test_they_are_kept_shown_and_handed_to_check_and_run(each_service: Service, tmp_path: Path) -> None:
    answer = _form(each_service, lenient="true", keep="true", divide=WORDS["divide"])
    assert answer.status_code == 202, answer.text
    shown = answer.json()
    assert [shown[key] for key in WORDS] == [True, True, "val=0.2,seed=3,prefix=_"]
    options = ["--lenient", "--keep", "--divide=val=0.2,seed=3,prefix=_"]
    with each_service.database.transaction() as session:
        check = upload_checks.claim(session, "w", 60)
        assert isinstance(check, upload_checks.Check)
        assert check.words == Words(True, True, "val=0.2,seed=3,prefix=_")
        assert previews.options(check, tmp_path)[4:] == options
        (found,) = inputs.locate(session, {"dataset": shown["id"]})
        assert found.words.options == options


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"keep": "true"}, "keep"),
        ({"divide": "0.2"}, "divide"),
        ({"divide": "val=2"}, "divide"),
        ({"keep": "x"}, "keep"),
    ],
)
def test_what_means_nothing_is_refused_by_field(service: Service, fields: dict[str, str], field: str) -> None:
    answer = _form(service, **fields)
    assert answer.status_code == 422
    assert field in answer.text
    tried = service.client.post("/v1/datasets/from-bucket", json={"url": "s3://x/y", **_plain(fields)})
    assert tried.status_code == 422
    assert tried.json()["code"] == "invalid"


def _plain(fields: dict[str, str]) -> dict[str, Any]:
    return {key: value == "true" or value for key, value in fields.items()}


def test_the_same_bytes_read_otherwise_are_other_content(service: Service) -> None:
    first = _form(service, name="n", divide="val=0.2").json()
    other = _form(service, name="n", divide="val=0.3").json()
    same = _form(service, name="n", divide="val=.2").json()
    assert other["same_content_as"] is None
    assert same["same_content_as"] == first["id"]
