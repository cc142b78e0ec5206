"""From an empty service to a first distillation: each step leads to the next, and the demo data is one click away."""

import html
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from api.console.pages.first_steps import SCENES
from api.tables.states import Status
from rdrkd.data.scenes import render
from tests.api.conftest import Service
from tests.api.console.conftest import Reader, reader_of


def steps(shown: str) -> str:
    found = re.search(r'<ol class="steps">(.*?)</ol>', shown, re.DOTALL)
    return html.unescape(found[1]) if found else ""


@pytest.mark.slow
def test_each_step_leads_to_the_next_until_a_distillation_is_submitted(service: Service) -> None:
    reader = Reader(service.client)
    assert "Use the demo data" in reader.get("/datasets")
    assert reader.post("/datasets/demo").headers["location"] == "/"
    assert reader.post("/datasets/demo").status_code == 303
    (dataset,) = service.client.get("/v1/datasets").json()["data"]  # a second click makes no second version
    assert (dataset["name"], dataset["size"]) == ("demo-scenes", SCENES.stat().st_size)

    shown = steps(reader.get("/"))
    assert "Use the demo data" not in shown
    train = re.search(r'href="(/jobs/new\?kind=train[^"]+)">Train a teacher', shown)
    assert train is not None
    form = reader.get(train[1])
    assert f'<option value="{dataset["id"]}" selected>' in form
    assert re.search(r'name="train.imgsz"[^>]*value="160"', form)
    fields = {"kind": "train", "dataset": dataset["id"], "student": "architecture:yolov8n"}
    teacher = reader.post("/jobs/new", **fields).headers["location"]

    distil = re.search(r'href="(/jobs/new\?dataset[^"]+)">Distil a student', steps(reader.get("/")))
    assert distil is not None
    assert f'<option value="job:{teacher.rpartition("/")[2]}" selected>' in reader.get(distil[1])
    fields = {"kind": "distill", "dataset": dataset["id"], "teacher": f"job:{teacher.rpartition('/')[2]}"}
    student = reader.post("/jobs/new", preset="rdr-kd", student="architecture:yolov8n-half", **fields)
    assert student.status_code == 303
    assert steps(reader.get("/")) == ""


def test_another_owners_jobs_do_not_hide_the_steps_and_a_read_key_is_offered_none(closed: Service) -> None:
    closed.job(Status.SUCCEEDED)
    submitter = reader_of(closed, owner="newcomer", scope="submit")
    assert "Use the demo data" in submitter.get("/")
    assert "You have stored 0 B of" in submitter.get("/datasets")
    reader = reader_of(closed, owner="newcomer", scope="read")
    shown = steps(reader.get("/"))
    assert "href" not in shown
    assert "<form" not in shown
    assert reader.post("/datasets/demo").status_code == 403


@pytest.mark.slow
def test_the_form_chooses_what_there_is_only_one_of(service: Service) -> None:
    dataset, reader = service.dataset(), Reader(service.client)
    assert f'<option value="{dataset}" selected>' in reader.get("/jobs/new")
    other = service.dataset()
    assert f'<option value="{dataset}" selected>' not in reader.get("/jobs/new")
    assert f'<option value="{other}" selected>' in reader.get(f"/jobs/new?dataset={other}")


def test_a_teacher_that_is_trained_leads_to_its_student(open_service: Service) -> None:
    service, reader = open_service, Reader(open_service.client)
    job = service.job(Status.SUCCEEDED)
    shown = html.unescape(reader.get(f"/jobs/{job}"))
    dataset = service.client.get(f"/v1/jobs/{job}").json()["spec"]["dataset"]
    assert f'href="/jobs/new?teacher=job%3A{job}&dataset={dataset}"' in shown
    assert "<progress" not in reader.get(f"/jobs/{service.job()}")  # it is queued: nothing progresses


@pytest.mark.parametrize(("split", "index"), [("train", 0), ("train", 127), ("val", 31)])
def test_the_demo_data_are_the_scenes_of_the_generator(split: str, index: int) -> None:
    scene, name = render("demo", 160, 0, split, index), f"{split}/demo_{split}_{index:06d}"
    with zipfile.ZipFile(SCENES) as scenes, Image.open(scenes.open(f"images/{name}.webp")) as image:
        labels = scenes.read(f"labels/{name}.txt").splitlines()
        drawn = np.asarray(image.convert("RGB"), dtype=float)
    assert len(labels) == len(scene.frame.boxes)
    assert np.abs(drawn - scene.image).mean() < 12
