"""What --teacher, --student and --data name: everything wrong is refused at once, with what was probably meant."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from rdrkd.cli import distill_inputs
from rdrkd.errors import Problem, SpecError

RIGHT = {"teacher": "l.pt", "student": "yolov8n", "data": "scenes.zip"}
WRONG = {
    "teacher": "gone.pt", "student": "yolov8q", "data": "gone.zip", "imgsz": 100, "epochs": 10_001, "preset": "rdr",
}  # fmt: skip


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("l.pt", "scenes.zip", "data.yaml"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "scenes").mkdir()
    return tmp_path


def refusals(**changed: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as refused:
        distill_inputs.local(RIGHT | changed)
    return {problem.where: problem.detail for problem in refused.value.problems}


def test_right_options_are_references() -> None:
    assert distill_inputs.local(RIGHT) == ({"path": "l.pt"}, {"architecture": "yolov8n"})
    assert distill_inputs.local(RIGHT | {"student": "l.pt", "data": "scenes"})[1] == {"path": "l.pt"}
    assert distill_inputs.local(RIGHT | {"student": "yolov8s.pt"})[1] == {"architecture": "yolov8s", "pretrained": True}


@pytest.mark.parametrize("pair", list(permutations(WRONG, 2)))
def test_every_wrong_option_is_named_at_once(pair: tuple[str, str]) -> None:
    assert set(refusals(**{name: WRONG[name] for name in pair})) == {f"--{name}" for name in pair}


@pytest.mark.parametrize("value", ["l.pt", "yolov8n", "scenes.zip", "scenes", "data.yaml", "yolo11s", "m.safetensors"])
@pytest.mark.parametrize("option", ["teacher", "student", "data"])
def test_a_value_in_the_wrong_place_asks_for_the_right_one(option: str, value: str, files: Path) -> None:
    (files / "m.safetensors").write_bytes(b"")
    fits = {"teacher": (".pt", ".safetensors"), "student": (".pt", ".safetensors", "v8n", "11s"),
            "data": (".zip", "scenes", ".yaml")}  # fmt: skip
    if value.endswith(fits[option]):
        distill_inputs.local(RIGHT | {option: value})
        return
    owner = next(name for name in ("data", "student", "teacher") if value.endswith(fits[name]))
    (detail,) = refusals(**{option: value}).values()
    assert f"is it meant for --{'teacher or --student' if owner == 'student' and '.' in value else owner}?" in detail


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("teacher", "ll.pt", "`l.pt`"),
        ("teacher", "yolov8ll.pt", "`yolov8l.pt`"),
        ("data", "scense.zip", "`scenes.zip`"),
        ("data", "scene", "`scenes`"),
        ("data", "date.yaml", "`data.yaml`"),
        ("student", "yolov8n.yaml", "`yolov8n` (random weights)"),
        ("student", "YOLOv8n", "one of yolov8n, yolov8n-p2, yolov8n-half (random weights)"),
        ("student", "yolov8", "one of yolov8n, yolov8s, yolov8m, yolov8l, yolov8x (random weights)"),
    ],
)
def test_a_mistyped_value_asks_for_the_nearest(option: str, value: str, meant: str) -> None:
    assert f"did you mean {meant}?" in refusals(**{option: value})[f"--{option}"]


def test_a_training_resolves_its_model_likewise() -> None:
    right = {"model": "yolov8l", "data": "scenes.zip"}
    assert distill_inputs.local_training(right) == {"architecture": "yolov8l"}
    assert distill_inputs.local_training(right | {"model": "yolov8l.pt"}) == {
        "architecture": "yolov8l",
        "pretrained": True,
    }
    with pytest.raises(SpecError) as refused:
        distill_inputs.local_training({"model": "scenes.zip", "data": "yolov8l", "imgsz": 100})
    model, data, imgsz = (problem.detail for problem in refused.value.problems)
    assert "is it meant for --data?" in model
    assert "is it meant for --model?" in data
    assert "a multiple of 32" in imgsz


def test_all_checks_run_and_only_refusals_are_gathered() -> None:
    def refuse(name: str) -> None:
        raise SpecError(name, [Problem(name, "wrong")])

    with pytest.raises(SpecError, match="refused because of 2 options"):
        distill_inputs.gathered(lambda: refuse("a"), lambda: 1, lambda: refuse("b"))
    with pytest.raises(ZeroDivisionError):
        distill_inputs.gathered(lambda: refuse("a"), lambda: 1 / 0)
    assert distill_inputs.gathered(lambda: 1, lambda: 2) == [1, 2]
