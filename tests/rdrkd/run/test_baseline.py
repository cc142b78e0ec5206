"""The student alone beside the distilled one: in the same run, from the same seed, through stops and damaged files."""

import json
import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch

from rdrkd.errors import StopRequested
from rdrkd.events import Checkpoint, Epoch, Progress
from rdrkd.figures import FIGURES
from rdrkd.models import load_weights
from rdrkd.reporter import Memory
from rdrkd.run.comparison import compared
from rdrkd.run.run import Inputs, run
from rdrkd.spec import JOB_SPEC, JobSpec
from rdrkd.training import epoch_events
from tests.rdrkd.stopping import StopAfter

EPOCHS = 2
NETWORK = {
    "name", "architecture", "parameters", "megabytes", "gflops", "imgsz", "AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L",
    "operating_points", "latency", "training_seconds", "epochs", "best_epoch",
}  # fmt: skip


def spec_of(scenes: Path, teacher: Path, weight: float = 0.0) -> JobSpec:
    train = {
        "epochs": EPOCHS, "imgsz": 96, "batch": 4, "nbs": 4, "workers": 0, "warmup_epochs": 0, "lr0": 0.001,
        "close_mosaic": 0,
    }  # fmt: skip
    return JOB_SPEC.validate_python(
        {
            "kind": "distill", "teacher": {"path": str(teacher)}, "student": {"architecture": "yolov8n-half"},
            "dataset": str(scenes), "distillation": {"losses": [{"name": "decoupled", "weight": weight}]},
            "train": train, "baseline": True,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def straight(
    scenes: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Memory, dict[str, Any]]:
    """A run with a term of weight 0, which leaves the student as it would be without a teacher."""
    folder, memory = tmp_path_factory.mktemp("straight"), Memory()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch_events, "_REPORT_SECONDS", 0.0)  # progress after each batch
        result = run(spec_of(scenes, teacher_path), folder, memory, Inputs(device="cpu"))
    return folder, memory, result


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return dict(load_weights(path).model.state_dict())


@pytest.mark.slow
def test_the_student_alone_has_the_same_seed_order_and_settings(straight: tuple[Path, Memory, dict[str, Any]]) -> None:
    folder, _, result = straight
    torch.testing.assert_close(tensors(folder / "alone.pt"), tensors(folder / "student.pt"), rtol=0, atol=1e-3)
    assert result["comparison"]["difference"]["AP"] == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(
    ("student", "alone", "words"),
    [
        (21.5, 20.0, "(AP 21.5 %) is 1.5 points better than the same student trained alone (AP 20.0 %); training took"),
        (20.0, 21.5, "1.5 points worse than"),
        (20.0, 21.5, "training took 3 min 20 s instead of 51 s. One seed"),
        (20.0, 20.01, "as good as the same student"),
        (0.2, 0.9, "has learnt anything yet"),
        (0.2, 1.0, "0.8 points worse than"),
        (None, 1.0, "The images contain no objects"),
        (1.0, None, "(`--baseline` on the command line)"),
    ],
)
def test_the_summary_says_who_is_ahead(student: float | None, alone: float | None, words: str) -> None:
    entries = [
        dict.fromkeys(FIGURES, ap) | {"training_seconds": seconds} for ap, seconds in ((alone, 51.0), (student, 200.0))
    ]
    summary = compared("val", None, None if alone is None else entries[0], entries[1])["summary"]
    assert words in summary


def test_the_result_shows_the_three_side_by_side(straight: tuple[Path, Memory, dict[str, Any]]) -> None:
    folder, _, result = straight
    comparison = result["comparison"]
    assert set(comparison) == {"split", "teacher", "alone", "student", "difference", "summary"}
    for who in ("teacher", "alone", "student"):
        assert set(comparison[who]) == NETWORK
        assert comparison[who]["latency"]["median_ms"] > 0
    assert [comparison[who]["epochs"] for who in ("teacher", "alone", "student")] == [None, EPOCHS, EPOCHS]
    assert comparison["student"]["training_seconds"] > 0
    assert (
        comparison["teacher"]["parameters"] > comparison["alone"]["parameters"] == comparison["student"]["parameters"]
    )
    assert "so this run says nothing about the gain" in comparison["summary"]
    assert set(result["weights"]) == {"student.pt", "student.safetensors", "alone.pt", "alone.safetensors"}
    assert result["epochs"] == EPOCHS
    page = (folder / "report.html").read_text()
    assert "student alone" in page
    assert f"finished: {EPOCHS} of {EPOCHS} epochs" in page
    assert page.count("data:image/") == 3
    assert all(
        (folder / name).stat().st_size > 1000 for name in ("predictions.jpg", "pr_curve.png", "confusion_matrix.png")
    )
    shown = json.loads((folder / "predictions.json").read_text())
    assert set(shown["networks"]) == {"teacher", "alone", "student"}
    assert {one["term"] for one in shown["images"][0]["maps"]} == {"decoupled"}
    assert all((folder / image["file"]).is_file() for image in shown["images"])
    card = (folder / "model_card.md").read_text()
    assert comparison["summary"] in card
    confidence = result["metrics"]["operating_points"]["best_f1"]["confidence"]
    assert f'predict("image.jpg", imgsz=96, conf={confidence:g})' in card
    latency = comparison["student"]["latency"]
    assert f"{latency['median_ms']:.1f} ({latency['q1_ms']:.1f}-{latency['q3_ms']:.1f}) |" in card
    assert [line.split("|")[1].strip() for line in card.splitlines() if line.startswith("| ")][1:] == [
        "teacher", "student alone", "this network",
    ]  # fmt: skip


def test_epochs_are_numbered_through_and_say_whose_they_are(straight: tuple[Path, Memory, dict[str, Any]]) -> None:
    folder, memory, _ = straight
    epochs = [event for event in memory.events if isinstance(event, Epoch)]
    assert [(epoch.part, epoch.epoch, epoch.epochs) for epoch in epochs] == [
        ("student", 1, 4), ("student", 2, 4), ("alone", 3, 4), ("alone", 4, 4),
    ]  # fmt: skip
    assert [event.epoch for event in memory.events if isinstance(event, Checkpoint)] == [1, 2, 3, 4]
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["0003", "0004"]
    told = [event for event in memory.events if isinstance(event, Progress)]
    assert [phase for phase, _ in groupby(event.phase for event in told)] == [
        "preparing", "evaluating", "training", "training_alone", "evaluating",  # the teacher first
    ]  # fmt: skip
    (last,) = [event for event in told if event.phase == "training" and (event.epoch, event.completed) == (2, 3)]
    assert last.epochs == 4
    assert last.eta_seconds is not None
    assert last.eta_seconds > 0, "the second part is to come"


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_stop_in_the_second_part_resumes_there(
    elsewhere: bool, straight: tuple[Path, Memory, dict[str, Any]], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    spec, folder = spec_of(scenes, teacher_path), tmp_path / "cut"
    with pytest.raises(StopRequested):
        run(spec, folder, StopAfter(EPOCHS + 1), Inputs(device="cpu"))
    assert not (folder / "result.json").exists()
    if elsewhere:  # another worker has the newest checkpoint and nothing else
        shutil.copytree(folder / "checkpoints" / "0003", tmp_path / "other" / "checkpoints" / "0003")
        folder = tmp_path / "other"
    memory = Memory()
    result = run(spec, folder, memory, Inputs(device="cpu"))
    assert [event.epoch for event in memory.events if isinstance(event, Epoch)] == [4]
    for name in ("student.pt", "alone.pt"):
        torch.testing.assert_close(tensors(folder / name), tensors(straight[0] / name), rtol=0, atol=1e-5)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["part"], line["epoch"]) for line in lines] == [
        ("student", 1), ("student", 2), ("alone", 3), ("alone", 4),
    ]  # fmt: skip
    assert result["best_epoch"] == straight[2]["best_epoch"]
    assert result["comparison"]["alone"]["best_epoch"] == straight[2]["comparison"]["alone"]["best_epoch"]


@pytest.mark.slow
def test_damage_to_the_second_parts_checkpoints_leaves_the_student(
    straight: tuple[Path, Memory, dict[str, Any]], scenes: Path, teacher_path: Path, tmp_path: Path
) -> None:
    spec = spec_of(scenes, teacher_path)
    with pytest.raises(StopRequested):
        run(spec, tmp_path, StopAfter(EPOCHS + 1), Inputs(device="cpu"))
    (tmp_path / "checkpoints" / "0003" / "state.pt").write_bytes(b"damaged")
    memory = Memory()
    run(spec, tmp_path, memory, Inputs(device="cpu"))
    assert [event.epoch for event in memory.events if isinstance(event, Epoch)] == [3, 4]
    torch.testing.assert_close(tensors(tmp_path / "alone.pt"), tensors(straight[0] / "alone.pt"), rtol=0, atol=1e-5)


def test_a_baseline_needs_something_to_compare_with(scenes: Path, teacher_path: Path) -> None:
    content = spec_of(scenes, teacher_path).model_dump(mode="json")
    with pytest.raises(ValueError, match="expected a distillation to compare with"):
        JOB_SPEC.validate_python(content | {"distillation": {"preset": "none"}})
