"""A job's predictions, drawn over its images: both sides from the URL, and nothing of the file is believed."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from api.jobs.lifecycle import Ending
from api.tables.states import Status
from tests.api.conftest import Service
from tests.api.console.conftest import Reader, reader_of
from tests.api.console.predicted import DOCUMENT, PNG
from tests.api.console.test_pages import tags


def publish(service: Service, document: Any, folder: Path, ending: Ending | None = None) -> str:
    job = service.job(name="night flight")
    held = service.bring(job, Status.RUNNING)
    service.checkpoint(held, 1, folder)
    service.publish(held, 1, json.dumps(document).encode(), folder, "predictions.json")
    if ending is not None:
        service.finish(held, ending)
    return job


def rectangles(page: str, kind: str) -> int:
    return sum(tag == "rect" and one.get("class") == kind and float(one["width"]) > 5 for tag, one in tags(page))


def test_two_networks_stand_over_each_image(open_service: Service, tmp_path: Path) -> None:
    job = publish(open_service, DOCUMENT, tmp_path)
    reader = Reader(open_service.client)
    assert f'href="/jobs/{job}/predictions"' in reader.get(f"/jobs/{job}")
    shown = reader.get(f"/jobs/{job}/predictions")
    assert "misses 1 of 2 objects, 0 of them small; 0 false alarms; from confidence 0.2" in shown
    assert "misses 2 of 2 objects, 1 of them small; 0 false alarms; from confidence 0.1" in shown
    assert "<script>alert" not in shown
    assert shown.count("&lt;script&gt;alert(1)") >= 3
    assert "data:image/png" not in shown
    # The key of the colours has a box of each kind as well.
    assert (rectangles(shown, "found"), rectangles(shown, "missed")) == (1 + 1, 3 + 1)
    laid = reader.get(f"/jobs/{job}/predictions?left=truth&right=student&over=decoupled-P3")
    assert f"data:image/png;base64,{PNG}" in laid
    assert rectangles(laid, "object") == 2 + 1
    assert "2 labelled objects" in laid


def test_a_detection_without_an_object_is_a_false_alarm(open_service: Service, tmp_path: Path) -> None:
    document = deepcopy(DOCUMENT)
    found = [
        [1, 100, 200, 60, 90, 0.9],
        [0, 100, 200, 60, 90, 0.8],
        [1, 100, 200, 60, 30, 0.7],
        [1, 900, 9, 50, 50, 0.6],
    ]
    document["images"][0]["found"]["student"] = found  # right; another class; too little overlap; nothing there
    document["images"][0]["missed"]["student"] = [0]
    shown = Reader(open_service.client).get(f"/jobs/{publish(open_service, document, tmp_path)}/predictions")
    assert "misses 1 of 2 objects, 1 of them small; 3 false alarms; from confidence 0.1" in shown
    assert (rectangles(shown, "found"), rectangles(shown, "wrong")) == (2 + 1, 3 + 1)
    assert "van 60 %, false alarm" in shown


def test_a_network_that_has_no_teacher_is_not_called_a_student(open_service: Service, tmp_path: Path) -> None:
    document = deepcopy(DOCUMENT) | {"networks": {"student": {"confidence": 0.1}}}
    shown = Reader(open_service.client).get(f"/jobs/{publish(open_service, document, tmp_path)}/predictions")
    assert "in which the network misses the most" in shown
    assert "<strong>network</strong>" in shown


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("images", 0, "maps", 0, "png"), '"><script>alert(1)</script>'),
        (("images", 0, "file"), "../../../v1/api-keys"),
        (("images", 0, "missed", "student"), [2]),
        (("images", 0, "truth"), [["x", 0, 0, 1, 1]]),
        (("images", 0, "width"), 0),
        (("networks",), {}),
        (("names",), None),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_file_that_says_something_else_is_refused(
    open_service: Service, tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    document = deepcopy(DOCUMENT)
    inner: Any = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    job = publish(open_service, document, tmp_path)
    assert "Cannot be shown" in Reader(open_service.client).get(f"/jobs/{job}/predictions", 502)


def test_a_job_without_them_says_so(open_service: Service) -> None:
    reader = Reader(open_service.client)
    assert reader.get(f"/jobs/{open_service.job()}/predictions", 409)
    assert reader.get("/jobs/job_0/predictions", 404)


def test_only_its_owner_sees_them(closed: Service, tmp_path: Path) -> None:
    job = publish(closed, DOCUMENT, tmp_path)
    reader_of(closed, owner="alice", scope="read").get(f"/jobs/{job}/predictions", 404)


@pytest.mark.parametrize(
    ("ending", "says"), [(None, "at most every 30 s"), (Ending(Status.FAILED), "ended before its evaluation")]
)
def test_those_of_a_training_name_their_epoch_and_follow(
    open_service: Service, tmp_path: Path, ending: Ending | None, says: str
) -> None:
    job = publish(open_service, DOCUMENT | {"epoch": 3}, tmp_path, ending)
    shown = Reader(open_service.client).get(f"/jobs/{job}/predictions")
    assert "The student after epoch 3" in shown
    assert says in shown
    assert 'hx-trigger="every ' in shown


def test_earlier_epochs_of_a_training_can_be_looked_at(open_service: Service, tmp_path: Path) -> None:
    moment = {"confidence": 0.3, "found": [[[0, 10, 20, 12, 8, 0.5]]], "missed": [[1]]}
    history = [{"epoch": 1} | moment | {"found": [[]], "missed": [[0, 1]]}, {"epoch": 4} | moment]
    job = publish(open_service, DOCUMENT | {"epoch": 9, "history": history}, tmp_path)
    path, reader = f"/jobs/{job}/predictions?right=student", Reader(open_service.client)
    shown = {at: reader.get(f"{path}&at={at}") for at in ("1", "5", "9", "x")}
    pattern = r"The student after epoch (\d+)|<strong>student</strong> misses (\d) of 2"
    told = {at: ["".join(found) for found in re.findall(pattern, page)] for at, page in shown.items()}
    assert told == {"1": ["1", "2"], "5": ["4", "1"], "9": ["9", "2"], "x": ["9", "2"]}
    assert 'type="range" name="at" min="1" max="9"' in shown["9"]
    assert "Newest epoch" in shown["5"]
    wrong = [{"epoch": 1} | moment | {"missed": [[7]]}]
    job = publish(open_service, DOCUMENT | {"epoch": 9, "history": wrong}, tmp_path)
    reader.get(f"/jobs/{job}/predictions?at=1", 502)
