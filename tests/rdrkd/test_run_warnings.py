"""Signs of a dead run: each rule at its edge, and all of them from a real run to its report."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from rdrkd import run_warnings
from rdrkd.data import Dataset
from rdrkd.diagnostics.run_report import write_report
from rdrkd.events import Warn
from rdrkd.reporter import Memory
from rdrkd.run import early_warnings
from rdrkd.run.run import Inputs, run
from rdrkd.spec import JOB_SPEC, TrainSettings
from rdrkd.training.precision import slowdown

DEAD = {"teacher_unusable", "learnt_nothing", "warmup_too_long", "batch_too_large", "too_few_steps"}


def codes(warnings: Iterable[Warn]) -> list[str]:
    return [warning.code for warning in warnings]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ((3, 2.9, 8, 8), []),
        ((3, 3.0, 8, 8), ["warmup_too_long"]),
        ((3, 0, 9, 8), ["batch_too_large"]),
        ((3, 3.0, 9, 8), ["warmup_too_long", "batch_too_large"]),
    ],
)
def test_settings_that_cannot_work(settings: tuple[int, float, int, int], found: list[str]) -> None:
    assert codes(run_warnings.of_settings(*settings)) == found


@pytest.mark.parametrize(("side", "found"), [(0.0046, ["objects_too_small"]), (0.0047, [])])
def test_the_median_object_decides(side: float, found: list[str]) -> None:
    sides = [0.0001, side, 0.9]
    assert codes(run_warnings.of_sizes(sides, 640)) == found
    assert codes(run_warnings.of_sizes([], 640)) == []


def test_the_size_that_is_advised_shows_the_usual_object() -> None:
    (warning,) = run_warnings.of_sizes([0.004], 640)
    assert "2.6 px at imgsz 640" in warning.message
    assert "train.imgsz to 2016" in warning.message
    (warning,) = run_warnings.of_sizes([0.0], 640)
    assert warning.message.endswith("which no detector sees: cut the images into tiles")


@pytest.mark.parametrize(
    ("aps", "found"),
    [
        ((1.0, None, 5.0), []),
        ((0.99, None, None), ["learnt_nothing"]),
        ((30.0, 40.0, 39.9), ["teacher_behind"]),
        ((30.0, 40.0, 40.0), []),
        ((0.0, 0.2, 0.19), ["learnt_nothing", "teacher_behind"]),
        ((None, None, None), []),
    ],
)
def test_networks_of_which_nothing_can_be_learnt(aps: tuple[float | None, ...], found: list[str]) -> None:
    assert codes(run_warnings.of_results(*aps)) == found


@pytest.mark.parametrize(
    ("found", "first"),
    [
        (run_warnings.of_results(0.02, 0.3, 20.0), "The student has an AP of 0.02 %, so it has learnt next to nothing"),
        (run_warnings.of_results(20.0, 30.0, 25.0), "The teacher has an AP of 25.0 %, less than the student alone"),
        (run_warnings.of_teacher(1.5), "The teacher has an AP of 1.50 % on these images, so it has nothing to teach"),
        (run_warnings.of_settings(3, 3.0, 8, 80), "The learning rate warms up for 3 of 3 epochs"),
        (run_warnings.of_settings(9, 3.0, 16, 8), "A batch of 16 images is larger than the 8 training images"),
        (run_warnings.of_sizes([0.004], 640), "The median object has 2.6 px at imgsz 640, which no detector sees"),
    ],
)
def test_a_verdict_begins_with_the_sentence_of_each_warning(found: Iterable[Warn], first: str) -> None:
    warnings = [{"code": warning.code, "message": warning.message} for warning in found]
    verdict = run_warnings.verdict_of({"warnings": warnings, "comparison": {"summary": "The gain."}})
    assert verdict[0].startswith(first)
    assert verdict[0].endswith(".")
    assert verdict[1:] == ["The gain."]


def test_a_verdict_begins_with_the_gravest_warning() -> None:
    found = [*run_warnings.of_settings(3, 3.0, 9, 8), *run_warnings.of_teacher(1.0), *run_warnings.of_results(0, 0, 1)]
    sentences = run_warnings.doubts_of((warning.code, warning.message) for warning in found)
    assert [sentence.split()[1] for sentence in sentences] == ["student", "teacher", "learning", "batch"]


@pytest.mark.parametrize(
    ("ap", "found"), [(5.0, []), (4.99, ["teacher_unusable"]), (0.0, ["teacher_unusable"]), (None, [])]
)
def test_a_teacher_that_has_nothing_to_teach(ap: float | None, found: list[str]) -> None:
    assert codes(run_warnings.of_teacher(ap)) == found


def test_objects_are_measured_at_the_networks_input(dataset: Dataset) -> None:
    def found(settings: TrainSettings) -> list[str]:
        return codes(early_warnings.warnings_of(settings, dataset, "cpu"))

    assert found(TrainSettings(imgsz=96, batch=4)) == []
    assert found(TrainSettings(imgsz=96, batch=4, fraction=0.25)) == ["batch_too_large"]
    small = TrainSettings(imgsz=96, batch=4).model_copy(update={"imgsz": 8})
    assert found(small) == ["objects_too_small"]


@pytest.mark.parametrize(
    ("epochs", "batch", "nbs", "images", "words"),
    [
        (25, 8, 64, 48, ["only 19 steps in all (48 images, batch 8, nbs 64)", "or set train.nbs to 8 (150 steps)"]),
        (1, 64, 64, 3, ["only 1 step in all (3 images", "choose more epochs"]),
        (99, 8, 8, 8, ["only 99 steps"]),
        (100, 8, 8, 8, []),
        (1, 8, 64, 0, []),  # as many as a check that is not done yet has counted
    ],
)
def test_random_weights_learn_nothing_in_a_few_steps(
    epochs: int, batch: int, nbs: int, images: int, words: list[str]
) -> None:
    found = " ".join(warning.message for warning in run_warnings.of_steps(epochs, batch, nbs, images))
    assert bool(found) == bool(words)
    assert all(each in found for each in words)


def test_only_a_random_start_needs_so_many_steps(dataset: Dataset) -> None:
    settings = TrainSettings(imgsz=96, batch=4)
    assert codes(early_warnings.warnings_of(settings, dataset, "cpu", random_start=True)) == ["too_few_steps"]
    assert codes(early_warnings.warnings_of(settings, dataset, "cpu", random_start=False)) == []


def test_mixed_precision_in_software_is_a_warning(dataset: Dataset) -> None:
    assert codes(run_warnings.of_precision("bf16", 2.0)) == []
    (warning,) = run_warnings.of_precision("bf16", 31.4)
    assert "bf16 takes 31 times as long" in warning.message

    cpu = torch.device("cpu")
    settings = TrainSettings(imgsz=96, batch=4, amp="fp16")
    slow = min(slowdown(torch.float16, cpu), slowdown(torch.float16, cpu)) > 4  # twice the limit: certain
    found = codes(early_warnings.warnings_of(settings, dataset, "cpu"))
    assert "precision_slow" in found or not slow
    assert codes(early_warnings.warnings_of(settings, dataset, "0")) == []


@pytest.mark.slow
def test_a_student_that_starts_from_its_teacher_is_warned_of(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(teacher_path, tmp_path / "copy.pt"))
    train = {"epochs": 1, "imgsz": 96, "batch": 13, "warmup_epochs": 0, "workers": 0}
    content = {"kind": "distill", "teacher": {"path": str(teacher_path)}, "dataset": str(scenes), "train": train}
    spec = JOB_SPEC.validate_python(content | {"student": {"path": str(copy)}})
    memory = Memory()
    run(spec, tmp_path / "run", memory, Inputs(device="cpu"))
    told = [getattr(event, "code", event.event) for event in memory.events]
    assert told.index("teacher_is_student") < told.index("epoch")


@pytest.mark.slow
def test_a_dead_run_looks_dead(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    spec = JOB_SPEC.validate_python(
        {
            "kind": "distill", "teacher": {"path": str(teacher_path)}, "student": {"architecture": "yolov8n-half"},
            "dataset": str(scenes), "train": {"epochs": 1, "imgsz": 96, "batch": 13, "warmup_epochs": 1, "workers": 0},
        }
    )  # fmt: skip
    memory = Memory()
    result = run(spec, tmp_path, memory, Inputs(device="cpu"))
    assert set(codes(memory.of("warning"))) >= DEAD  # type: ignore[arg-type]
    assert {warning["code"] for warning in result["warnings"]} == DEAD
    told = [getattr(event, "code", event.event) for event in memory.events]
    assert told.index("teacher_unusable") < told.index("epoch")
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert result["verdict"].startswith("The student has an AP of ")
    assert result["verdict"].endswith(result["comparison"]["summary"])
    comparison = result["comparison"]
    assert comparison["teacher"]["name"] == "student.pt"
    assert comparison["teacher"].keys() == comparison["student"].keys()
    assert comparison["student"]["AP"] == result["metrics"]["coco"]["AP"]
    assert (comparison["alone"], comparison["difference"]) == (None, None)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    head = page[page.index("<header>") : page.index("<h1>")]
    assert head.count('class="doubt') == len(DEAD)
    assert head.split(">")[2].startswith("The student has an AP of ")
    assert "so it has nothing to teach" in head
    assert "AP of the teacher" in page
    card = (tmp_path / "model_card.md").read_text()
    assert card.splitlines()[2].startswith("> **The student has an AP of ")
    assert card.count("\n> **") == len(DEAD)
