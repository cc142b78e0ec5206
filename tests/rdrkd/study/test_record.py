"""What is kept of a member, from events made by hand; whole members are recorded in test_runner.py."""

from datetime import UTC, datetime
from typing import Any

from rdrkd.spec.study import Study
from rdrkd.study.members import Member, members_of
from rdrkd.study.record import record_of

STUDY = {
    "name": "s", "dataset": "d", "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 3}},
    "student": {"architecture": "yolov8n"}, "methods": ["none", "decoupled"], "seeds": [4],
}  # fmt: skip
RESULT: dict[str, Any] = {
    "metrics": {"coco": {"AP": 1.0}, "coco_maxdets500": {"AP": 1.0}, "ultralytics": {"mAP50": 1.0}}, "per_class": {},
    "student": {"architecture": "yolov8n"}, "best_epoch": 1, "epochs": 1, "memory_bytes": 1, "device": "CPU",
}  # fmt: skip
TRAIN = {"epochs": 1, "imgsz": 96, "seed": 4}


def member(method: str) -> Member:
    found = members_of(Study.model_validate(STUDY), "sha", {"path": "t.pt"})
    return next(each for each in found if each.method == method)


def recorded(method: str, models: dict[str, str], *warnings: dict[str, Any]) -> dict[str, Any]:
    resolved = {"train": TRAIN, "provenance": {"model_sha256": models, "versions": {"rdrkd": "0.1.0"}}}
    return record_of(member(method), RESULT, resolved, [], warnings, datetime(2026, 1, 1, tzinfo=UTC))


def test_the_training_settings_and_the_start_weights_are_kept() -> None:
    distilled = recorded("decoupled", {"teacher": "t" * 64, "student": "s" * 64})
    assert (distilled["train"], distilled["teacher_sha256"], distilled["start_sha256"]) == (TRAIN, "t" * 64, "s" * 64)
    assert recorded("none", {"model": "s" * 64})["start_sha256"] == "s" * 64
    assert recorded("none", {})["start_sha256"] is None


def test_a_warning_is_kept_once_with_the_epoch_in_which_it_first_came() -> None:
    weak = {"code": "term_weak", "message": "decoupled: weak"}
    found = recorded("decoupled", {}, {**weak, "epoch": 3}, {**weak, "epoch": 7}, {"code": "dataset", "message": "odd"})
    assert found["warnings"] == [{**weak, "epoch": 3}, {"code": "dataset", "message": "odd", "epoch": None}]
