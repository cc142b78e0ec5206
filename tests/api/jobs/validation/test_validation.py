"""Trying a job on paper: the refusals of a real one, what is known, what earlier ones took, and nothing queued."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.jobs.lifecycle import Ending
from api.tables.datasets import Dataset
from api.tables.models import Model
from api.tables.states import Status
from tests.api.conftest import NOBODY, Service

SPLITS = {"statistics": {"splits": {"train": {}, "val": {}}}, "warnings": []}
TRAIN = {"kind": "train", "model": {"architecture": "yolov8n"}}


def validate(service: Service, **spec: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/jobs/validate", json=spec)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def checked(service: Service, **report: Any) -> str:
    """Return a dataset whose check has found this."""
    dataset = service.dataset()
    with service.database.transaction() as session:
        found = {"names": ["car", "van"], **SPLITS, **report}
        session.execute(update(Dataset).where(Dataset.id == dataset).values(report=found))
    return dataset


def model(service: Service, **report: Any) -> str:
    model_id = service.upload("models", (f"{len(report)}.pt", b"weights"))
    service.settle()
    found = {"architecture": "yolov8l", "names": ["car", "van"], "strides": [8, 16, 32], "reg_max": 16, **report}
    with service.database.transaction() as session:
        session.execute(update(Model).where(Model.id == model_id).values(report=found))
    return model_id


def distill(dataset: str, teacher: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "distill", "dataset": dataset, "teacher": teacher, "student": {"architecture": "yolov8n"}, **more}


def errors(found: dict[str, Any]) -> list[str]:
    return [finding["pointer"] for finding in found["findings"] if finding["level"] == "error"]


def done(service: Service, seconds: float, folder: Path, device: str = "CPU, 2 threads", **spec: Any) -> str:
    """Return a job that has succeeded, each of its epochs in `seconds`."""
    job_id = service.client.post("/v1/jobs", json=TRAIN | spec if "kind" not in spec else spec).json()["id"]
    held = service.bring(job_id, Status.RUNNING)
    for epoch in (1, 2):
        service.epoch(held, epoch, seconds=seconds)
        if spec.get("baseline"):
            service.epoch(held, epoch + 2, seconds=seconds / 2, part="alone")
    service.publish(held, 2, b"weights", folder)
    student = {"architecture": "yolov8n", "names": ["car", "van"]}
    result = {"device": device, "memory_bytes": int(seconds * 1000), "seconds": 9 * seconds, "student": student}
    service.finish(held, Ending(Status.SUCCEEDED, result=result))
    return job_id


def test_a_sound_spec_is_resolved_and_nothing_is_queued(each_service: Service) -> None:
    dataset = checked(each_service)
    spec = distill(dataset, {"model": model(each_service)}, distillation={"preset": "ld"})

    found = validate(each_service, **spec)

    assert (found["object"], found["ok"], found["findings"]) == ("validation", True, [])
    resolved = found["resolved_spec"]
    assert (resolved["train"]["epochs"], resolved["train"]["imgsz"], resolved["priority"]) == (100, 640, 0)
    assert [loss["name"] for loss in resolved["distillation"]["losses"]] == ["ld"]
    assert each_service.client.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("spec", "code", "pointer"),
    [
        ({**TRAIN, "dataset": "/data"}, "path_not_allowed", "/dataset"),
        ({**TRAIN, "dataset": NOBODY["dataset"]}, "unknown_reference", "/dataset"),
        ({**TRAIN, "model": {"path": "x.pt"}}, "path_not_allowed", "/model/path"),
        ({**TRAIN, "train": {"epochs": 0}}, "invalid", "/train/epochs"),
        ({**TRAIN, "deadline": "2020-01-01T00:00:00Z"}, "invalid", "/deadline"),
        ({**TRAIN, "surprise": 1}, "invalid", "/surprise"),
    ],
)
def test_it_is_refused_as_a_job_is(each_service: Service, spec: dict[str, Any], code: str, pointer: str) -> None:
    body = {"dataset": each_service.dataset()} | spec

    tried, posted = (each_service.client.post(path, json=body) for path in ("/v1/jobs/validate", "/v1/jobs"))

    assert (tried.status_code, tried.json()["code"]) == (422, code)
    assert pointer in [error["pointer"] for error in tried.json()["errors"]]
    assert tried.json() | {"instance": ""} == posted.json() | {"instance": ""}


def test_what_is_not_checked_yet_is_unknown(each_service: Service) -> None:
    dataset, teacher = each_service.upload(), each_service.upload("models", ("l.pt", b"weights"))

    found = validate(each_service, **distill(dataset, {"model": teacher}))

    assert found["ok"]
    assert [(f["level"], f["pointer"]) for f in found["findings"]] == [
        ("unknown", "/dataset"),
        ("unknown", "/teacher"),
    ]


def test_an_input_too_small_for_the_objects_is_advised_against(each_service: Service) -> None:
    histogram = {"edges": [0, 4, 8, 16], "counts": [0, 50, 50, 0]}
    shown = {"images": 800, "image_width": {"max": 1920}, "image_height": {"max": 1080}, "size_histogram": histogram}
    dataset = checked(each_service, statistics={"splits": {"train": shown, "val": shown}})
    model = {"architecture": "yolov8n"}
    found = validate(each_service, kind="train", dataset=dataset, model=model, train={"imgsz": 640})
    (advice,) = [finding for finding in found["findings"] if finding["level"] == "advice"]
    assert advice["pointer"] == "/train/imgsz"
    assert advice["detail"] == (
        "1920 suits the objects better than 640: a quarter of 100 objects are below 6 px in images of 1920 px, which "
        "is 6.0 px at imgsz 1920 and 2.0 px at imgsz 640"
    )
    found = validate(each_service, kind="train", dataset=dataset, model=model, train={"imgsz": 1920})
    assert found["ok"]
    assert "advice" not in [finding["level"] for finding in found["findings"]]


def test_too_few_steps_to_learn_anything_are_advised_against(service: Service) -> None:
    dataset = checked(service, statistics={"splits": {"train": {"images": 48}}})
    job = {"kind": "train", "dataset": dataset, "model": {"architecture": "yolov8n"}}
    found = validate(service, **job, train={"epochs": 25, "batch": 8})["findings"]
    (advice,) = [each for each in found if each["level"] == "advice"]
    assert advice["pointer"] == "/train/epochs"
    assert advice["detail"].startswith("the optimizer makes only 19 steps in all (48 images, batch 8, nbs 64)")
    assert "set train.nbs to 8 (150 steps)" in advice["detail"]
    enough = validate(service, **job, train={"epochs": 25, "batch": 8, "nbs": 8})["findings"]
    assert "advice" not in [each["level"] for each in enough]


def test_a_teacher_that_is_still_trained_is_named_as_the_reason(service: Service) -> None:
    dataset, teacher = checked(service), service.job(Status.RUNNING)
    found = validate(service, **distill(dataset, {"job": teacher}))
    details = [each["detail"] for each in found["findings"] if each["pointer"] == "/teacher"]
    assert details == ["its classes are not known yet: the job that trains it is running"]


def test_faults_that_the_run_would_find_are_found_before(each_service: Service) -> None:
    dataset = checked(each_service, names=["car"], warnings=["val: 3 images are also in train"])
    other, wide = model(each_service), model(each_service, names=["car"], strides=[4, 8, 16, 32])
    student = model(each_service, names=["car"], reg_max=1, more=1)

    assert errors(validate(each_service, **distill(dataset, {"model": other}))) == ["/teacher"]
    fitting = validate(each_service, **distill(dataset, {"model": wide}))
    assert (fitting["ok"], [f["level"] for f in fitting["findings"]]) == (True, ["warning"])
    pair = distill(dataset, {"model": wide}, student={"model": student}, distillation={"losses": [{"name": "ld"}]})
    found = validate(each_service, **pair)
    assert (found["ok"], errors(found)) == (False, ["/student", "/distillation/losses/ld"])
    softmax = distill(dataset, {"model": wide}, distillation={"losses": [{"name": "dkd"}]})
    assert errors(validate(each_service, **softmax)) == ["/distillation/losses/dkd"]
    alone = distill(dataset, {"model": other}, distillation={"preset": "none"})
    assert validate(each_service, **alone)["ok"]  # no teacher is opened
    official = {"architecture": "yolov8l", "pretrained": True}
    found = validate(each_service, **distill(dataset, official))
    assert errors(found) == ["/teacher"]
    assert "train them on this dataset first" in found["findings"][0]["detail"]
    assert validate(each_service, kind="train", dataset=dataset, model=official)["ok"]


def test_a_job_is_refused_for_what_its_validation_calls_an_error(each_service: Service) -> None:
    dataset = checked(each_service, names=["car"])
    other, wide = model(each_service), model(each_service, names=["car"], strides=[4, 8, 16, 32])
    student = model(each_service, names=["car"], reg_max=1, more=1)
    bodies = [
        distill(dataset, {"model": other}),
        distill(dataset, {"model": wide}, distillation={"losses": [{"name": "dkd"}]}),
        distill(dataset, {"model": wide}, student={"model": student}, distillation={"losses": [{"name": "ld"}]}),
        {"kind": "evaluate", "dataset": dataset, "model": {"model": other}},
        {"kind": "export", "dataset": dataset, "model": {"model": other}, "export": {"format": "onnx"}},
    ]
    for body in bodies:
        found, answer = validate(each_service, **body), each_service.client.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), body
        assert [error["pointer"] for error in answer.json()["errors"]] == errors(found)
    study = {"name": "s", "dataset": dataset, "teacher": {"model": {"model": other}}, "methods": ["none", "dkd"],
             "student": {"architecture": "yolov8n"}}  # fmt: skip
    refused = each_service.client.post("/v1/studies", json=study)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/teacher/model", "/methods"]
    assert each_service.client.get("/v1/jobs").json()["data"] == []


def test_an_evaluation_needs_its_split_and_classes(each_service: Service) -> None:
    dataset, other = checked(each_service), model(each_service, names=["ship"])
    spec = {"kind": "evaluate", "dataset": dataset, "model": {"model": other}, "evaluation": {"split": "test"}}

    assert sorted(errors(validate(each_service, **spec))) == ["/evaluation/split", "/model"]


@pytest.mark.slow
def test_an_estimate_is_of_jobs_that_were_alike_and_names_them(each_service: Service, tmp_path: Path) -> None:
    dataset, elsewhere = checked(each_service), checked(each_service)
    small = {"imgsz": 320, "batch": 8, "epochs": 2}
    alike = [done(each_service, seconds, tmp_path, dataset=dataset, train=small) for seconds in (2.0, 4.0)]
    done(each_service, 50.0, tmp_path, dataset=dataset, train={**small, "imgsz": 640})
    done(each_service, 60.0, tmp_path, dataset=dataset, train={**small, "batch": 16})
    done(each_service, 70.0, tmp_path, dataset=elsewhere, train=small)
    done(each_service, 80.0, tmp_path, dataset=dataset, train=small, model={"architecture": "yolov8s"})

    estimate = validate(each_service, **TRAIN, dataset=dataset, train={**small, "epochs": 10})["estimate"]

    assert (estimate["seconds_per_epoch"], estimate["seconds"], estimate["memory_bytes"]) == (3.0, 30.0, 4000)
    assert estimate["basis"]["jobs"] == alike[::-1]
    assert (estimate["basis"]["epochs"], estimate["basis"]["device"]) == (4, "CPU, 2 threads")
    assert {"architecture", "dataset", "imgsz", "batch"} <= set(estimate["basis"]["same"])
    assert estimate["reason"] is None
    short, long = ({**TRAIN, "dataset": dataset, "train": small, "timeout_seconds": limit} for limit in (5, 7))
    (told,) = [one for one in validate(each_service, **short)["findings"] if one["pointer"] == "/timeout_seconds"]
    assert (told["level"], told["detail"]) == ("warning", "an attempt is stopped after 5 s, but may take 6 s")
    assert not any(one["pointer"] == "/timeout_seconds" for one in validate(each_service, **long)["findings"])


def test_devices_are_not_mixed(service: Service, tmp_path: Path) -> None:
    dataset = checked(service)
    done(service, 90.0, tmp_path, dataset=dataset)
    newest = done(service, 1.0, tmp_path, dataset=dataset, device="NVIDIA H100")

    estimate = validate(service, **TRAIN, dataset=dataset)["estimate"]

    assert (estimate["basis"]["jobs"], estimate["seconds_per_epoch"]) == ([newest], 1.0)


def test_without_a_basis_there_is_no_number(each_service: Service) -> None:
    dataset = checked(each_service)
    each_service.end(each_service.bring(each_service.submit(dataset)["id"], Status.RUNNING), Status.FAILED)

    fresh = validate(each_service, **TRAIN, dataset=dataset)["estimate"]
    unchecked = each_service.upload("models", ("x.pt", b"weights"))
    unknown = validate(each_service, **{**TRAIN, "model": {"model": unchecked}}, dataset=dataset)["estimate"]

    for estimate in (fresh, unknown):
        assert {estimate[name] for name in ("seconds", "seconds_per_epoch", "memory_bytes", "basis")} == {None}
    assert re.fullmatch("no job with the same .*architecture.* has succeeded yet", fresh["reason"])
    assert "architecture is not known yet" in unknown["reason"]


def test_a_distillation_is_like_one_with_the_same_teacher_and_losses(each_service: Service, tmp_path: Path) -> None:
    dataset, teacher = checked(each_service), {"model": model(each_service)}
    spec = distill(dataset, teacher, distillation={"preset": "ld"})
    done(each_service, 3.0, tmp_path, **spec)

    same, other = (validate(each_service, **{**spec, "distillation": {"preset": p}})["estimate"] for p in ("ld", "cwd"))

    assert same["seconds_per_epoch"] == 3.0
    assert (other["seconds"], other["basis"]) == (None, None)
    assert "losses" in other["reason"]


def test_an_estimate_with_a_baseline_covers_both_trainings(service: Service, tmp_path: Path) -> None:
    spec = distill(checked(service), {"model": model(service)}, train={"epochs": 10})
    done(service, 3.0, tmp_path, **spec, baseline=True)

    both = validate(service, **spec, baseline=True)["estimate"]

    assert (both["seconds_per_epoch"], both["seconds"]) == (3.0, 45.0)
    assert validate(service, **spec)["estimate"]["seconds"] is None, "one without a baseline is not alike"


def test_what_a_job_will_hand_back_is_known_by_its_spec(each_service: Service, tmp_path: Path) -> None:
    dataset = checked(each_service)
    source = done(each_service, 2.0, tmp_path, dataset=dataset)
    evaluation = {"kind": "evaluate", "dataset": dataset, "model": {"job": source}}
    done(each_service, 5.0, tmp_path, **evaluation)
    running = each_service.submit(dataset)["id"]

    estimate = validate(each_service, **{**evaluation, "model": {"job": running}})["estimate"]

    assert (estimate["seconds"], estimate["seconds_per_epoch"], estimate["basis"]["epochs"]) == (45.0, None, 0)


@pytest.mark.parametrize("of", ["one model", "two uploads of it", "official weights", "another"])
def test_a_student_that_starts_from_its_teachers_weights_is_doubted_as_its_run_would(service: Service, of: str) -> None:
    teacher: dict[str, Any] = {"model": model(service)}
    student = teacher
    if of == "another":
        student = {"model": service.upload("models", ("other.pt", b"other weights"))}
    elif of == "two uploads of it":
        student = {"model": model(service)}
    elif of == "official weights":
        teacher = student = {"architecture": "yolov8n", "pretrained": True}
    found = validate(service, **distill(checked(service), teacher) | {"student": student})["findings"]
    doubts = [(one["level"], one["pointer"]) for one in found if "the teacher's own weights" in one["detail"]]
    assert doubts == ([] if of == "another" else [("warning", "/student")])
