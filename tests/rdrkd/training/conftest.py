"""Tiny trainings of a pair, looked at from inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rdrkd.data import Dataset
from rdrkd.models import load_weights
from rdrkd.reporter import Memory
from rdrkd.spec import Distillation, TrainSettings
from rdrkd.training import resume_state
from rdrkd.training.plan import Plan
from rdrkd.training.precision import precision
from rdrkd.training.trainer import Trainer

TRAIN = {"imgsz": 96, "batch": 4, "nbs": 4, "workers": 0, "warmup_epochs": 0, "lr0": 0.001, "close_mosaic": 0}
Begin = Callable[..., Trainer]


@pytest.fixture
def begin(dataset: Dataset, teacher_path: Path, tmp_path: Path) -> Begin:
    """Build a trainer of a pair: `begin(epochs=2, amp="bf16")`; it goes on where the folder's last one ended."""

    def build(
        folder: Path = tmp_path / "run",
        data: Dataset = dataset,
        teacher: Path = teacher_path,
        student: str = "yolov8n-half",
        distillation: dict[str, Any] | None = None,
        reporter: Memory | None = None,
        device: str = "cpu",
        **settings: Any,
    ) -> Trainer:
        folder.mkdir(exist_ok=True)
        data.write_yaml(folder / "data.yaml")
        plan = Plan(
            student,
            TrainSettings.model_validate({**TRAIN, "epochs": 1, **settings}),
            load_weights(teacher),
            Distillation.model_validate(distillation or {}).recipe,
        )
        reporter = reporter or Memory()
        return Trainer(plan, folder / "data.yaml", folder, reporter, device, resume_state.newest(folder, reporter))

    return build


def finish(trainer: Trainer) -> dict[str, Any]:
    """Train to the end; give the newest state."""
    with precision(trainer.dtype):
        trainer.train()
    found = resume_state.newest(trainer.run_dir, trainer.reporter)
    assert found is not None
    return found.state()


def losses(trainer: Trainer) -> dict[str, float]:
    """The last epoch's losses as they were told."""
    (*_, last) = (event for event in trainer.epoch_events.reporter.events if event.event == "epoch")  # type: ignore[attr-defined]
    return dict(last.losses)
