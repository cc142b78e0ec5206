"""How the members of results made by hand were made, in words."""

import json
from pathlib import Path
from typing import Any

import pytest

from rdrkd.errors import SpecError
from rdrkd.spec import TrainSettings
from rdrkd.study import results
from rdrkd.study.members import digest
from rdrkd.study.provenance import Making, making
from rdrkd.study.report import write_report
from rdrkd.study.statistics import rows_of
from tests.rdrkd.study.test_report import member

TRAIN = TrainSettings(epochs=30, imgsz=320, cos_lr=True, seed=7).model_dump(mode="json")
DEVICE = {"rdrkd": "0.1.0", "torch": "2.13.0", "device": "CPU, 1 threads"}
STUDENT = {"architecture": "yolov8n"}


def decoupled(weight: float, calibrated: bool = False) -> dict[str, Any]:
    calibration = {"share": 0.5, "shares": {"decoupled": 0.3}, "mode": "running", "steps": 20} if calibrated else None
    losses = [{"name": "decoupled", "weight": weight, "alpha": 0.5}]
    return {"preset": None, "losses": losses, "calibration": calibration, "schedule": {"stop_epochs": 0.0}}


def made(members: list[dict[str, Any]], **fields: Any) -> Making:
    found = {"dataset": "d", "dataset_sha256": "1" * 64, "teachers": {}, "members": members, **fields}
    return making(found, rows_of(members))


def own(made: Making) -> dict[str, str]:
    assert made.header == ["method", "terms", "of this row alone"]
    return {row[0]: row[2] for row in made.rows}


def test_what_all_rows_share_is_told_once() -> None:
    common = {"train": TRAIN, "versions": DEVICE, "teacher_sha256": None}
    found = made([member("none", 0, 1.0, **common), member("mine", 1, 2.0, terms=decoupled(0.1), **common)])
    assert found.shared == [
        "Data: d (sha256 111111111111)", "Student: yolov8n", "Seeds: 0, 1",
        "Training: epochs 30, imgsz 320, batch 16, optimizer SGD, lr0 0.01, cos_lr true, the rest by default",
        "Software: rdrkd 0.1.0, torch 2.13.0", "Device: CPU, 1 threads",
    ]  # fmt: skip
    assert found.header == ["method", "terms"]
    assert found.rows == [["none", "-"], ["mine", "decoupled (weight 0.1)"]]


def test_a_row_of_an_edited_spec_says_what_is_its_own() -> None:
    first = member("mine", 0, 2.0, hash="a", train=TRAIN, terms=decoupled(0.1))
    edited = member("mine", 0, 3.0, hash="b", train={**TRAIN, "lr0": 0.02, "seed": 8}, terms=decoupled(0.2))
    found = made([first, edited, member("none", 0, 1.0, train=TRAIN, terms=None)])
    assert own(found) == {
        "mine (a)": "lr0 0.01, decoupled.weight 0.1", "mine (b)": "lr0 0.02, decoupled.weight 0.2", "none": "lr0 0.01"
    }  # fmt: skip
    assert "Training: epochs 30, imgsz 320, batch 16, optimizer SGD, cos_lr true, the rest by default" in found.shared


def test_weights_that_calibration_has_chosen_are_no_settings() -> None:
    members = [
        member("mine", 0, 2.0, hash="a", train=TRAIN, terms=decoupled(0.123, calibrated=True)),
        member("mine", 0, 3.0, hash="b", train={**TRAIN, "epochs": 40}, terms=decoupled(0.456, calibrated=True)),
    ]
    found = made(members)
    assert own(found) == {"mine (a)": "epochs 30", "mine (b)": "epochs 40"}
    assert {row[1] for row in found.rows} == {"decoupled (share 0.3), running"}


def test_unlike_machines_students_and_start_weights_are_told_by_row() -> None:
    small = {"architecture": "yolov8n-half", "parameters": 1, "gflops": 1.0}
    members = [
        member("none", 0, 1.0, train=TRAIN, versions=DEVICE, start_sha256="c" * 64),
        member("none", 1, 1.0, train=TRAIN, versions={**DEVICE, "device": "H200"}, start_sha256="c" * 64),
        member("mine", 0, 1.0, train=TRAIN, versions=DEVICE, student=small),
    ]
    assert own(made(members)) == {
        "none": "student yolov8n, device CPU, 1 threads and H200",
        "mine": "student yolov8n-half, device CPU, 1 threads",
    }


def test_an_earlier_version_s_member_has_the_study_s_settings_where_its_hash_proves_it() -> None:
    settings = {name: value for name, value in TRAIN.items() if name != "seed"}
    setting = digest(["1" * 64, STUDENT, settings])
    study = {"student": STUDENT, "train": TRAIN}
    proven = made([member("none", 0, 1.0, setting=setting)], study=study)
    assert "cos_lr true" in " ".join(proven.shared)
    unknown = made([member("none", 0, 1.0, setting="another")], study=study)
    assert not [said for said in unknown.shared if said.startswith("Training")]
    assert own(unknown) == {"none": "training settings not recorded"}


def test_a_teacher_that_was_given_has_its_line_and_one_that_was_trained_its_settings() -> None:
    members = [member("none", 0, 1.0, teacher_sha256=None), member("mine", 0, 2.0, teacher_sha256="t" * 64)]
    given = made(members, study={"teacher": {"model": {"path": "t.pt"}}})
    assert given.shared[-1] == "Teacher: t.pt, used as it is (sha256 tttttttttttt)"
    assert made(members).shared[-1] == "Teacher: weights, used as it is (sha256 tttttttttttt)"
    student = {"architecture": "yolov8l", "parameters": 1, "gflops": 1.0}
    metrics = {"AP": None}
    trained = {"x1": {"metrics": metrics, "student": student, "epochs": 3, "sha256": "t" * 64, "train": TRAIN}}
    (said,) = (said for said in made(members, teachers=trained).shared if said.startswith("Teacher"))
    assert said.startswith("Teacher x1: yolov8l, AP -, trained with epochs 30, imgsz 320, ")


def test_the_kept_results_tell_how_they_were_made(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "docs" / "results"
    write_report(results.read(folder / "study-hit-uav-cpu.json"), tmp_path)
    text, page = ((tmp_path / name).read_text() for name in ("report.md", "report.html"))
    assert text == (folder / "study-hit-uav-cpu" / "report.md").read_text(), "the kept report is of today's code"
    for said in ("How it was made", "epochs 30, imgsz 320, batch 16, optimizer AdamW, lr0 0.002", "CPU, 1 threads",
                 "Teacher 96c8f30e4c96: yolov8n, AP 22.04", "ultralytics 8.4.190"):  # fmt: skip
        assert said in text
        assert said in page


def test_odd_settings_in_a_file_are_refused_by_field(tmp_path: Path) -> None:
    content = {
        "format": 1, "name": "s", "dataset": "d", "dataset_sha256": "1",
        "members": [member("none", 0, 1.0, terms={"losses": [{"name": 3, "weight": 1.0}]}, train=[])],
    }  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(SpecError) as refused:
        results.read(tmp_path / "x.json")
    assert {problem.where for problem in refused.value.problems} == {
        "/members/0/terms/losses/0/name", "/members/0/train"
    }  # fmt: skip
