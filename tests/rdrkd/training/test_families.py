"""Every family teaches and learns: the same family, across families, any width; what cannot work is refused first."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rdrkd.data import Dataset
from rdrkd.errors import PairError
from rdrkd.models import build, load_weights, save_student
from tests.rdrkd.training.conftest import Begin, finish, losses

# (teacher, student): the cheap ones always, the others in the slow suite
PAIRS = [("yolo11n", "yolov8n-half"), ("yolov8n", "yolo26n"), ("yolo26n", "yolo26n"), ("yolov8n-p2", "yolov8n-p2")]
SLOW_PAIRS = [
    ("yolov8s", "yolov8n"), ("yolov8m", "yolov8n"), ("yolov8l", "yolov8n"), ("yolov8x", "yolov8n"),
    ("yolov8n", "yolov8s"), ("yolov8s-p2", "yolov8n-p2"), ("yolo11s", "yolo11n"), ("yolo26s", "yolo26n"),
    ("yolo26n", "yolov8n"), ("yolo26n", "yolo11n"), ("yolo11n", "yolo26n"), ("yolov8n", "yolo11n"),
]  # fmt: skip


def weights(architecture: str, names: tuple[str, ...], folder: Path) -> Path:
    torch.manual_seed(7)
    folder.mkdir()
    save_student(build(architecture, names), folder, {})
    return folder / "student.pt"


@pytest.mark.parametrize(
    ("teacher", "student"), [*PAIRS, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW_PAIRS)]
)
def test_a_pair_trains_with_every_term_and_gives_a_student_that_loads(
    teacher: str, student: str, begin: Begin, dataset: Dataset, tmp_path: Path
) -> None:
    trainer = begin(teacher=weights(teacher, dataset.names, tmp_path / "teacher"), student=student)
    finish(trainer)
    assert trainer.distiller is not None
    assert not trainer.distiller.probe.guard.watching
    told = losses(trainer)
    assert all(math.isfinite(value) for value in told.values())
    assert all(told[name] > 0 for name in ("regenerated", "decoupled", "responsive"))
    found = load_weights(trainer.run_dir / "student.pt")
    assert (found.architecture, found.names) == (student, dataset.names)


@pytest.mark.slow
def test_two_end_to_end_heads_are_compared_branch_by_branch_as_the_task_weighs_them(
    begin: Begin, dataset: Dataset, tmp_path: Path
) -> None:
    teacher = weights("yolo26n", dataset.names, tmp_path / "teacher")
    trainer = begin(teacher=teacher, student="yolo26n", epochs=3, distillation={"preset": "responsive"})
    gains: list[list[float]] = []

    def watch(_trainer: Any) -> None:
        assert trainer.distiller is not None
        term = trainer.distiller.projector["terms"]["responsive"]
        term.register_forward_pre_hook(lambda m, args: gains.append([branch.gain for branch in args[0].branches]))

    trainer.add_callback("on_train_start", watch)
    finish(trainer)
    assert gains[0] == pytest.approx([0.8, 0.2])  # one-to-many first ...
    assert gains[-1] == pytest.approx([0.1, 0.9])  # ... one-to-one, which is deployed, in the end


@pytest.mark.slow
def test_an_end_to_end_student_under_a_dense_teacher_learns_from_its_dense_branch(
    begin: Begin, dataset: Dataset, tmp_path: Path
) -> None:
    trainer = begin(student="yolo26n", epochs=3, distillation={"preset": "responsive"})
    branches: list[list[float]] = []

    def watch(_trainer: Any) -> None:
        assert trainer.distiller is not None
        term = trainer.distiller.projector["terms"]["responsive"]
        term.register_forward_pre_hook(lambda m, args: branches.append([branch.gain for branch in args[0].branches]))

    trainer.add_callback("on_train_start", watch)
    finish(trainer)
    assert all(len(gains) == 1 for gains in branches)
    assert branches[0] == pytest.approx([0.8])  # as much as this branch has of the task loss ...
    assert branches[-1] == pytest.approx([0.1])  # ... which fades there: the term must not outgrow it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "student", "distillation", "message"),
    [
        ("yolov8n-p2", "yolov8n", {"preset": "responsive"}, r"head strides \[4, 8, 16, 32\], got \[8, 16, 32\]"),
        ("yolo26n", "yolov8n", {"losses": [{"name": "ld"}]}, "reg_max 1 of the teacher and 16 of the student"),
        ("yolov8n", "yolo26n", {"losses": [{"name": "ld"}]}, "reg_max 16 of the teacher and 1 of the student"),
        ("yolov8n", "yolov8n", {"losses": [{"name": "ultralytics", "levels": [4, 8]}]}, r"got also \[4\]"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    teacher: str,
    student: str,
    distillation: dict[str, Any],
    message: str,
    begin: Begin,
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    teacher_file = weights(teacher, dataset.names, tmp_path / "teacher")
    trainer = begin(teacher=teacher_file, student=student, distillation=distillation)
    with pytest.raises(PairError, match=message):
        trainer.train()
    assert not [event for event in trainer.epoch_events.reporter.events if event.event == "progress"]  # type: ignore[attr-defined]
