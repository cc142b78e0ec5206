"""A job that its dataset or model cannot serve is refused where it is posted, and as its validation says."""

from typing import Any

import pytest
from sqlalchemy import update

from api.tables.datasets import Dataset
from api.tables.models import Model
from rdrkd.spec import ARCHITECTURES
from rdrkd.spec.references import layers_of
from tests.api.conftest import Service

TRAIN = {"kind": "train", "model": {"architecture": "yolov8n"}}


def _dataset(service: Service, **splits: int) -> str:
    dataset = service.dataset()
    report = {"names": ["car"], "statistics": {"splits": {split: {"images": n} for split, n in splits.items()}}}
    with service.database.transaction() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset).values(report=report))
    return dataset


def _model(service: Service) -> str:
    model = service.upload("models", ("m.pt", b"weights"))
    service.settle()
    with service.database.transaction() as session:
        session.execute(update(Model).where(Model.id == model).values(report={"names": ["car"], "layers": 29}))
    return model


@pytest.mark.parametrize(
    ("splits", "spec", "pointer"),
    [
        (("train",), TRAIN, "/dataset"),
        (("val",), TRAIN, "/dataset"),
        (("test",), TRAIN, "/dataset"),
        (("val",), {"kind": "evaluate", "evaluation": {"split": "test"}}, "/evaluation/split"),
        (("train",), {"kind": "export", "export": {"format": "onnx"}}, "/export/split"),
        (("train", "val"), {**TRAIN, "train": {"freeze": 23}}, "/train/freeze"),
        (("train", "val"), {"kind": "train", "train": {"freeze": 29}}, "/train/freeze"),
        (("train", "val"), {**TRAIN, "train": {"imgsz": 32, "batch": 8}}, "/train/imgsz"),
        (("train", "val"), {**TRAIN, "train": {"imgsz": 96, "multi_scale": 0.5, "batch": 1}}, "/train/imgsz"),
    ],
)
def test_it_is_refused_at_the_post_and_by_validate(
    service: Service, splits: tuple[str, ...], spec: dict[str, Any], pointer: str
) -> None:
    body = {"dataset": _dataset(service, **dict.fromkeys(splits, 17)), "model": {"model": _model(service)}} | spec
    posted = service.client.post("/v1/jobs", json=body)
    assert (posted.status_code, posted.json()["code"]) == (422, "invalid"), posted.text
    assert pointer in [error["pointer"] for error in posted.json()["errors"]]
    tried = service.client.post("/v1/jobs/validate", json=body)
    if tried.status_code == 422:
        assert tried.json()["errors"] == posted.json()["errors"]
    else:
        assert not tried.json()["ok"]
        assert pointer in [finding["pointer"] for finding in tried.json()["findings"] if finding["level"] == "error"]


@pytest.mark.parametrize(
    ("splits", "spec"),
    [
        (("test",), {"kind": "evaluate", "evaluation": {"split": "test"}}),
        (("train", "val"), {"kind": "train", "train": {"freeze": 28}}),
        (("train", "val"), {**TRAIN, "train": {"imgsz": 32, "batch": 2, "fraction": 0.6}}),
    ],
)
def test_what_a_job_does_not_need_may_be_missing(
    service: Service, splits: tuple[str, ...], spec: dict[str, Any]
) -> None:
    body = {"dataset": _dataset(service, **dict.fromkeys(splits, 17)), "model": {"model": _model(service)}} | spec
    posted = service.client.post("/v1/jobs", json=body)
    assert posted.status_code == 202, posted.text


@pytest.mark.parametrize("where", [("train",), ("teacher", "train"), ("methods", 1, "train")])
def test_a_study_that_would_train_nothing_is_refused(service: Service, where: tuple[Any, ...]) -> None:
    network = {"architecture": "yolov8n"}
    method: dict[str, Any] = {"name": "own", "distillation": {"preset": "ld"}, "train": {}}
    body: dict[str, Any] = {
        "name": "s", "dataset": service.dataset(), "student": network, "methods": ["none", method], "train": {},
        "teacher": {"model": network, "train": {}},
    }  # fmt: skip
    inner: Any = body
    for step in where:
        inner = inner[step]
    inner["freeze"] = 99
    answer = service.client.post("/v1/studies", json=body)
    pointer = "/" + "/".join(map(str, where)) + "/freeze"
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


def test_layers_are_those_of_the_networks() -> None:
    from rdrkd.models.architectures import configuration

    for name in ARCHITECTURES:
        network = configuration(name)
        assert layers_of(name) == len(network["backbone"]) + len(network["head"])
