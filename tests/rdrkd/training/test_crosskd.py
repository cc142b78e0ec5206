"""The student's map goes through the teacher's head in every way to train; nothing of it is left in the student."""

import copy
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rdrkd.data import Dataset
from rdrkd.errors import PairError, StopRequested
from rdrkd.events import Epoch
from rdrkd.models import build, load_weights, save_student
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from rdrkd.run_folder import checkpoints
from rdrkd.spec import Distillation
from rdrkd.training import resume_state
from rdrkd.ultralytics_adapter import YOLO
from tests.rdrkd.lively import lively
from tests.rdrkd.stopping import StopAfter
from tests.rdrkd.training.conftest import Begin, finish, losses
from tests.rdrkd.training.test_ranks import TWO, distill
from tests.rdrkd.training.test_resume import EPOCHS, assert_same

CROSSKD = {"preset": "crosskd"}


def weights(architecture: str, dataset: Dataset, folder: Path) -> Path:
    """Weights of a teacher that tells its images apart; of one that does not there is nothing to learn from."""
    torch.manual_seed(7)
    folder.mkdir()
    save_student(lively(build(architecture, dataset.names)), folder, {})
    return folder / "student.pt"


@pytest.fixture
def teacher(dataset: Dataset, tmp_path: Path) -> Path:
    return weights("yolov8n", dataset, tmp_path / "teacher")


def assert_it_taught(trainer: Any) -> None:
    assert trainer.distiller is not None
    assert not trainer.distiller.probe.guard.watching
    told = losses(trainer)
    assert all(math.isfinite(value) for value in told.values())
    assert told["crosskd"] > 1e-3


def mappers(of: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in of["model"].items() if "crosskd-" in key}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "student", "count"),
    [("yolov8n", "yolov8n-half", 3), ("yolov8n", "yolo11n", 0), ("yolo26n", "yolo26n", 0), ("yolov8n", "yolo26n", 3),
     ("yolov8s", "yolov8n", 3),
     ("yolo26s", "yolo26n", 12),
     ("yolo26n", "yolov8n", 3)],
)  # fmt: skip
def test_heads_cross_over_widths_and_families_and_the_student_is_plain(
    architecture: str, student: str, count: int, begin: Begin, dataset: Dataset, tmp_path: Path
) -> None:
    trainer = begin(
        teacher=weights(architecture, dataset, tmp_path / "teacher"), student=student, epochs=2, distillation=CROSSKD
    )
    drawn: dict[str, torch.Tensor] = {}
    trainer.add_callback(
        "on_train_start", lambda t: drawn.update(mappers({"model": copy.deepcopy(t.model.state_dict())}))
    )
    saved = finish(trainer)
    assert_it_taught(trainer)
    assert len(drawn) == count
    assert all(not torch.equal(value, drawn[key]) for key, value in mappers(saved).items())  # they learn
    assert mappers(saved).keys() == drawn.keys()
    found = load_weights(trainer.run_dir / "student.pt")
    assert (found.architecture, found.names) == (student, dataset.names)
    plain = YOLO(trainer.run_dir / "student.pt").model
    assert not [key for key in plain.state_dict() if "crosskd" in key or "projector" in key]


@pytest.mark.slow
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision(amp: str, begin: Begin, teacher: Path) -> None:
    trainer = begin(teacher=teacher, amp=amp, distillation=CROSSKD)
    finish(trainer)
    assert_it_taught(trainer)


MODES: dict[str, dict[str, Any]] = {
    "mappers": {},
    "without alignment, accumulated": {
        "nbs": 8, "distillation": {"losses": [{"name": "crosskd", "align_scale": False, "split": 2}]}
    },
    "end-to-end, bf16": {"architecture": "yolo26s", "student": "yolo26n", "amp": "bf16"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    mode: str, begin: Begin, dataset: Dataset, tmp_path: Path
) -> None:
    settings = {"epochs": EPOCHS, "distillation": CROSSKD, **MODES[mode]}
    settings["teacher"] = weights(settings.pop("architecture", "yolov8n"), dataset, tmp_path / "teacher")
    straight = finish(begin(folder=tmp_path / "straight", **settings))
    with pytest.raises(StopRequested):
        finish(begin(folder=tmp_path / "cut", reporter=StopAfter(EPOCHS // 2), **settings))
    resumed = finish(begin(folder=tmp_path / "cut", **settings))
    assert mappers(straight)
    assert_same(straight, resumed)


def test_maps_of_other_widths_without_a_mapper_are_refused_before_training(begin: Begin) -> None:
    trainer = begin(distillation={"losses": [{"name": "crosskd", "mapper": "none"}]})
    with pytest.raises(PairError, match="maps for scores are equally wide where `mapper` is `none`"):
        trainer.train()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile all but the last step, the code for the processor: two minutes, and `test_modes` takes it, too."""
    monkeypatch.setattr(torch, "compile", partial(_traced, torch.compile))


def _traced(compile_: Callable[..., Any], function: Any, **_options: Any) -> Any:
    return compile_(function, backend="aot_eager")


@pytest.mark.slow  # two networks are traced, forward and backward
@pytest.mark.usefixtures("traced")
def test_heads_in_halves_compiled_learn_what_they_learn_uncompiled(begin: Begin, teacher: Path, tmp_path: Path) -> None:
    settings = {"teacher": teacher, "mosaic": 0, "distillation": CROSSKD}
    plain = finish(begin(folder=tmp_path / "plain", **settings))
    trainer = begin(folder=tmp_path / "compiled", compile=True, **settings)
    fast = finish(trainer)
    for key, value in plain["model"].items():
        torch.testing.assert_close(fast["model"][key], value, rtol=1e-2, atol=1e-3, msg=key)
    assert_it_taught(trainer)


@pytest.mark.slow  # two ranks start
def test_two_ranks_have_the_same_mappers(scenes: Path, teacher: Path, tmp_path: Path) -> None:
    spec = distill(scenes, epochs=2).model_copy(update={"distillation": Distillation.model_validate(CROSSKD)})
    memory = Memory()
    result = run(spec, tmp_path / "run", memory, Inputs(teacher=teacher, device=TWO))
    assert result["epochs"] == 2  # at the end of each the ranks compare all that they train
    assert all(event.losses["crosskd"] > 0 for event in memory.events if isinstance(event, Epoch))
    saved = resume_state.read(checkpoints.complete(tmp_path / "run")[-1] / checkpoints.STATE)
    assert len(mappers(saved)) == 3
