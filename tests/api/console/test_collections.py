"""Datasets, models, studies, comparisons and administration: what they show, and that nothing in them is markup."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.jobs.lifecycle import Ending
from api.tables.datasets import Dataset
from api.tables.models import Model
from api.tables.states import Status
from api.tables.uploads import UploadStatus
from tests.api.conftest import Service
from tests.api.console.conftest import Reader, reader_of
from tests.api.console.predicted import HOSTILE
from tests.api.uploads.datasets.previews import PIECES, with_preview

FIGURES = {"AP": 20.0, "AP_S": 10.0, "AP50": 40.0, "AP75": 15.0, "AP_M": 30.0, "AP_L": None}
STUDY: dict[str, Any] = {
    "name": "paper",
    "student": {"architecture": "yolov8n"},
    "teacher": {"model": {"architecture": "yolov8s"}, "train": {"epochs": 1}},
    "train": {"epochs": 1},
    "methods": ["none", "rdr-kd"],
    "seeds": [0, 1],
}


def is_escaped(shown: str) -> bool:
    return "&lt;script&gt;alert(1)" in shown and "<script>alert" not in shown and "<img src=x" not in shown


def trained(service: Service, folder: Path, dataset: str | None = None, **changes: Any) -> str:
    """Return a job that has succeeded, with figures and weights."""
    job = service.submit(dataset or service.dataset(), **changes)["id"]
    held = service.bring(job, Status.RUNNING)
    service.epoch(held, 1, metrics={"mAP50_95": 12.0})
    service.publish(held, 1, b"weights", folder)
    result = {"metrics": {"coco": FIGURES}, "seconds": 60.0, "memory_bytes": 1_000_000}
    service.finish(held, Ending(Status.SUCCEEDED, result=result))
    return job


def test_figures_by_ultralytics_are_labelled_wherever_a_job_has_no_others(open_service: Service) -> None:
    service, reader = open_service, Reader(open_service.client)
    job = service.submit(service.dataset(), name="half-way")["id"]
    service.epoch(service.bring(job, Status.RUNNING), 1, metrics={"mAP50_95": 12.34, "mAP50": 20.0})
    for path in ("/jobs", "/compare?name=half-way"):
        assert re.search(r"12\.3[^<]*<small [^>]*>mAP50-95</small>", reader.get(path)), path
    assert re.search(r"20\.0[^<]*<small [^>]*>mAP50</small>", reader.get("/compare?name=half-way"))
    home = reader.get("/")
    assert "mAP50-95 over epochs" in home
    assert ">AP</th>" not in home


def test_a_dataset_of_a_hostile_name_has_its_page(open_service: Service) -> None:
    service, reader = open_service, Reader(open_service.client)
    name = HOSTILE.replace("/", "")  # a file's name has none
    made = service.client.post("/v1/datasets", files={"file": (f"{name}.zip", b"PK\x05\x06" + bytes(18))})
    dataset = made.raise_for_status().json()["id"]
    for path in ("/datasets", f"/datasets/{dataset}"):
        shown = reader.get(path)
        assert "&lt;script&gt;alert(1)&lt;script&gt;" in shown
        assert "<script>alert" not in shown
    assert "A worker is checking it" in reader.get(f"/datasets/{dataset}")
    assert reader.post(f"/datasets/{dataset}/delete").headers["location"] == "/datasets"
    reader.get(f"/datasets/{dataset}", 404)


def test_a_student_and_a_model_are_exported_from_their_pages(open_service: Service, tmp_path: Path) -> None:
    service, reader = open_service, Reader(open_service.client)
    dataset = service.dataset()
    job = trained(service, tmp_path, dataset)
    assert f'action="/jobs/{job}/export"' in reader.get(f"/jobs/{job}")
    made = reader.post(f"/jobs/{job}/export", dataset=dataset, format="onnx", imgsz="320").headers["location"]
    spec = service.client.get(f"/v1{made}").json()["spec"]
    assert (spec["kind"], spec["model"], spec["export"]) == ("export", {"job": job}, {"format": "onnx", "imgsz": 320})

    model = reader.post(f"/jobs/{job}/register", name="half").headers["location"]
    shown = reader.get(model)
    assert f'action="{model}/export"' in shown
    assert f'value="{dataset}" selected' in shown
    again = reader.post(f"{model}/export", dataset=dataset, format="openvino", imgsz="64").headers["location"]
    assert "OpenVINO" in shown
    assert f'href="{again}"' in reader.get(model)
    refused = reader.post(f"{model}/export", dataset=dataset, format="onnx", imgsz="x")
    assert (refused.status_code, "imgsz" in refused.text) == (422, True)


def test_an_invalid_model_is_no_teacher_and_many_classes_are_folded(open_service: Service) -> None:
    service, reader = open_service, Reader(open_service.client)
    made = service.client.post("/v1/models", files={"file": ("a.pt", b"PK\x05\x06" + bytes(18))}).json()["id"]
    assert "Distil from it" in reader.get(f"/models/{made}")
    report = {"names": [f"class {number}" for number in range(12)]}
    with service.database.engine.begin() as connection:
        connection.execute(update(Model).where(Model.id == made).values(status=UploadStatus.INVALID, report=report))
    shown = reader.get(f"/models/{made}")
    assert "Distil from it" not in shown
    assert "<summary>2 more</summary>class 10, class 11" in shown


def test_a_student_becomes_a_model_with_an_alias(open_service: Service, tmp_path: Path) -> None:
    service, reader = open_service, Reader(open_service.client)
    job = trained(service, tmp_path, name="half")
    assert f'action="/jobs/{job}/register"' in reader.get(f"/jobs/{job}")
    made = reader.post(f"/jobs/{job}/register", name=HOSTILE)
    assert made.status_code == 303, made.text
    path = made.headers["location"]
    for page in ("/models", path):
        assert is_escaped(reader.get(page))
    assert f"/jobs/{job}" in reader.get(path)
    assert reader.post(f"{path}/alias", alias="best").status_code in (303, 409)
    assert reader.post(f"{path}/delete").status_code in (303, 409)


def test_a_study_shows_its_methods_by_seed(open_service: Service) -> None:
    service, reader = open_service, Reader(open_service.client)
    study = (
        service.client.post("/v1/studies", json=STUDY | {"dataset": service.dataset()}).raise_for_status().json()["id"]
    )
    assert "of 5 jobs" in reader.get("/studies")
    shown = reader.get(f"/studies/{study}")
    for words in ("student alone", "rdr-kd", "seed 0", "seed 1", "It is drawn when the last job has ended."):
        assert words in shown
    assert reader.post(f"/studies/{study}/cancel").status_code == 303
    assert f'action="/studies/{study}/delete"' in reader.get(f"/studies/{study}")


def test_jobs_side_by_side_by_id_and_by_name(open_service: Service, tmp_path: Path) -> None:
    service, reader = open_service, Reader(open_service.client)
    dataset = service.dataset()
    jobs = [trained(service, tmp_path, dataset, name="pair", train={"lr0": lr0}) for lr0 in (0.1, 0.2)]
    for query in ("&".join(f"job={job}" for job in jobs), "name=pair"):
        shown = reader.get(f"/compare?{query}")
        assert re.findall(r"<code>([\w.]+)</code>", shown) == ["train.lr0"]
        assert shown.count("10.0 %") == 2
        assert "<circle" in shown
        curves = service.client.get(f"/compare/curves?{query}").json()
        assert [one["name"] for one in curves["charts"][0]["series"]] == ["pair", "pair"]
        assert curves["charts"][0]["series"][0]["values"] == [12.0]
    reader.get("/compare?job=job_0", 404)
    assert "Tick jobs" in reader.get("/compare")


def test_a_key_is_made_shown_once_and_revoked(closed: Service) -> None:
    reader = reader_of(closed, owner="ops", scope="admin")
    sent = reader.post("/administration/keys", name=HOSTILE, owner="alice", scope="read", expires="2999-12-31")
    assert (sent.status_code, sent.headers["location"]) == (303, "/administration")
    key = re.search(r"rdr_[0-9a-f]+_[\w-]+", reader.get("/administration"))
    assert key is not None
    made = closed.client.get("/v1/api-keys", params={"limit": 1}).json()["data"][0]
    assert (made["scope"], made["expires_at"][:10]) == ("read", "2999-12-31")
    shown = reader.get("/administration")  # as after a reload
    assert closed.client.get("/v1/api-keys", params={"limit": 1}).json()["data"][0] == made
    assert is_escaped(shown)
    assert key[0] not in shown
    names = re.findall(r'action="/administration/keys/(\w+)/revoke"', shown)
    assert reader.post(f"/administration/keys/{names[0]}/revoke").status_code == 303
    assert "create api key" in reader.get("/audit")
    assert "create api key" in reader.get("/audit?action=create_api_key")


def test_a_webhook_shows_its_deliveries(closed: Service) -> None:
    reader = reader_of(closed, owner="alice", scope="submit")
    made = reader.post("/webhooks", url="http://127.0.0.1:9/x", name=HOSTILE)
    assert (made.status_code, made.headers["location"]) == (303, "/webhooks")
    first = reader.get("/webhooks")
    assert "whsec_" in first
    assert "whsec_" not in reader.get("/webhooks")
    path = re.search(r'href="(/webhooks/whk_\w+)"', first)
    assert path is not None
    assert reader.post(f"{path[1]}/test").status_code == 303
    shown = reader.get(path[1])
    assert is_escaped(shown)
    assert "Next attempt" in shown
    assert reader.post(f"{path[1]}/delete").status_code == 303


@pytest.mark.parametrize("path", ["/administration", "/audit"])
def test_administration_is_for_admins(closed: Service, path: str) -> None:
    reader = reader_of(closed, owner="alice", scope="submit")
    reader.get(path, 403)
    assert f'href="{path}"' not in reader.get("/")


def test_a_read_key_sees_no_form(closed: Service, tmp_path: Path) -> None:
    closed.client.headers.update(closed.key(owner="bob"))
    dataset = closed.dataset()
    trained(closed, tmp_path, dataset)
    reader = reader_of(closed, owner="bob", scope="read")
    for path in ("/datasets", f"/datasets/{dataset}", "/models", "/studies", "/webhooks", "/jobs", "/"):
        assert re.findall(r'<form[^>]*method="post"[^>]*action="([^"]+)"', reader.get(path)) == ["/sign-out"], path
        assert 'id="upload"' not in reader.get(path)


@pytest.mark.slow
def test_what_is_shared_offers_no_change(closed: Service) -> None:
    alice = closed.key(owner="alice")
    closed.client.headers.update(alice)
    shared = [("datasets", closed.upload()), ("models", closed.upload("models", ("a.pt", b"PK\x05\x06" + bytes(18))))]
    for feature, id_ in shared:
        closed.client.put(f"/v1/{feature}/{id_}/shares/bob").raise_for_status()
    reader = reader_of(closed, owner="bob", scope="submit")
    for feature, id_ in shared:
        assert "another, who shares it" in reader.get(f"/{feature}")
        page = reader.get(f"/{feature}/{id_}")
        assert "another, who shares it" in page
        assert re.findall(rf'action="/{feature}/{id_}/(\w+)"', page) == (["export"] if feature == "models" else [])
        assert reader.post(f"/{feature}/{id_}/delete").status_code == 404
        assert "another owner's" in html.unescape(reader.get("/jobs/new"))
        assert closed.client.get(f"/v1/{feature}/{id_}", headers=alice).status_code == 200


def test_a_dataset_shows_its_sizes_at_an_input_and_what_was_left_out(open_service: Service) -> None:
    dataset = open_service.dataset()
    split = {
        "images": 2, "boxes": 3, "empty_images": 0, "boxes_per_image": {"mean": 1.5, "max": 2},
        "per_class": {HOSTILE: 3},
        "image_width": {"min": 640, "max": 1280}, "image_height": {"min": 480, "max": 720},
        "tiny_bins": {"very_tiny": 2, "tiny": 1}, "size_histogram": {"edges": [0, 8, 16], "counts": [2, 1, 0]},
    }  # fmt: skip
    dropped = {"counts": {"box": 1}, "listed": [{"where": HOSTILE, "detail": "expected 5 fields, got 4"}], "more": 7}
    report = {"names": [HOSTILE], "statistics": {"splits": {"val": split}}, "dropped": dropped}
    with open_service.database.transaction() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset).values(report=report))
    shown = re.sub(r"\s+", " ", Reader(open_service.client).get(f"/datasets/{dataset}?imgsz=320"))
    assert is_escaped(shown)
    assert 'very tiny, below 8 px: <strong>2</strong></span>, <span class="nowrap">tiny, below 16: <strong>1<' in shown
    assert "3 (100.0 %)" in shown  # the tiny boxes of the split
    assert re.findall(r'scope="row" class="figure">([^<]+)</th><td class="figure">([^<]+)<', shown) == [
        ("0 to 8", "0 to 2"), ("8 to 16", "2 to 4"), ("16 and more", "4 and more"),
    ]  # fmt: skip
    assert "expected 5 fields, got 4" in shown
    assert "And 7 more." in shown
    for odd in ("x", "-1", "9" * 30, "٣", "%00"):
        assert 'name="imgsz"' in Reader(open_service.client).get(f"/datasets/{dataset}?imgsz={odd}")


def test_images_of_a_dataset_are_leafed_through(service: Service) -> None:
    reader, dataset = Reader(service.client), with_preview(service)
    assert f'href="/datasets/{dataset}/images"' in reader.get(f"/datasets/{dataset}")
    shown = reader.get(f"/datasets/{dataset}/images?label=van")
    assert "2 images match" in shown
    assert "&lt;b&gt;1.jpg" in shown
    assert "<b>" not in shown
    drawn = re.findall(r'<rect class="(found|other) class\d" [^>]*><title>', shown)
    assert (drawn.count("found"), drawn.count("other")) == (2, 1)
    (picture,) = re.findall(r'href="(/through/v1/datasets/[^"]+/images/3)"', shown)
    assert service.client.get(picture).content == PIECES[3]
    assert "No image matches." in reader.get(f"/datasets/{dataset}/images?split=test")
    reader.get(f"/datasets/{dataset}/images?split=nowhere", 422)
