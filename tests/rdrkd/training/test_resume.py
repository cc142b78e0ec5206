"""2 N epochs straight are N epochs, a kill, and N more: the same weights, whatever the training does."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import is_fake

from rdrkd.errors import ModelError, StopRequested
from rdrkd.events import Epoch, Event
from rdrkd.reporter import Memory
from rdrkd.run_folder import checkpoints
from rdrkd.training import resume_state
from rdrkd.training.train import train
from tests.rdrkd.stopping import StopAfter
from tests.rdrkd.training.conftest import TRAIN, Begin, finish

EPOCHS = 4
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated over the cut, AdamW, cosine, images in memory": {  # three batches an epoch, a step every other
        "nbs": 8, "optimizer": "AdamW", "cos_lr": True, "cache": "ram"
    },
    "accumulated for longer than an epoch, mosaic closed before the cut": {"nbs": 32, "close_mosaic": 3},
    "in the warm-up, mosaic closed after the cut": {"warmup_epochs": 3, "nbs": 8, "close_mosaic": 1},
    "bf16, multi-scale": {"amp": "bf16", "multi_scale": 0.5},
    "fp16": {"amp": "fp16", "imgsz": 32, "epochs": 2},  # which a CPU computes slowly
    "end-to-end head": {"student": "yolo26n"},  # its criterion shifts with the epochs
    "calibrated at the start": {"distillation": {"calibration": {"steps": 4}}},
    "calibration cut off": {"distillation": {"calibration": {"steps": 8}}},
    "calibration running, scheduled": {
        "distillation": {
            "calibration": {"mode": "running", "steps": 2},
            "schedule": {"shape": "cosine", "warmup_epochs": 1, "stop_epochs": 1},
        }
    },
    "own adapters, learned fusion": {
        "distillation": {
            "losses": [{"name": "regenerated", "fusion": "learned", "adapter": "own"}, {"name": "decoupled"}]
        }
    },
    "random masks, modules of several terms": {
        "distillation": {"losses": [{"name": "mgd"}, {"name": "fgd"}, {"name": "amd"}]}
    },
    "Ultralytics' own": {"distillation": {"preset": "ultralytics"}},
}  # fmt: skip


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Compare two states to float tolerance, all the way down."""
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6, msg=lambda text: f"{where}: {text}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, value in enumerate(one):
            assert_same(value, other[index], f"{where}/{index}")
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6, nan_ok=True), where
    else:
        assert one == other, where


@pytest.mark.parametrize("mode", ["plain", *(pytest.param(m, marks=pytest.mark.slow) for m in MODES if m != "plain")])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(mode: str, begin: Begin, tmp_path: Path) -> None:
    settings = {"epochs": EPOCHS, **MODES[mode]}
    epochs = settings["epochs"]
    straight = finish(begin(folder=tmp_path / "straight", **settings))
    with pytest.raises(StopRequested):
        finish(begin(folder=tmp_path / "cut", reporter=StopAfter(epochs // 2), **settings))
    assert [path.name for path in checkpoints.complete(tmp_path / "cut")][-1] == f"000{epochs // 2}"
    resumed = finish(begin(folder=tmp_path / "cut", **settings))
    assert straight["epoch"] == epochs
    assert_same(straight, resumed)


@pytest.mark.slow
def test_the_cut_matters(begin: Begin, tmp_path: Path) -> None:
    """What the comparison would say if a resume lost something: here the images of the epoch."""
    straight = finish(begin(folder=tmp_path / "straight", epochs=2))
    with pytest.raises(StopRequested):
        finish(begin(folder=tmp_path / "cut", reporter=StopAfter(1), epochs=2))
    trainer = begin(folder=tmp_path / "cut", epochs=2)
    trainer.add_callback("on_train_start", lambda t: setattr(t.train_loader.sampler, "epoch", 7))
    with pytest.raises(AssertionError):
        assert_same(straight, finish(trainer))


@pytest.mark.slow
def test_every_checkpoint_of_a_run_can_be_resumed_from_with_gradients_in_waiting(begin: Begin, tmp_path: Path) -> None:
    settings = {"epochs": 5, "nbs": 20}
    straight = finish(begin(folder=tmp_path / "straight", **settings))
    for epoch in range(1, 5):
        folder = tmp_path / f"cut-{epoch}"
        with pytest.raises(StopRequested):
            finish(begin(folder=folder, reporter=StopAfter(epoch), **settings))
        assert_same(straight, finish(begin(folder=folder, **settings)))


class LooksForTheState(Memory):
    """Counts, after each epoch, the tensors in memory that are what one of the state's was: the run's have moved on."""

    def __init__(self, saved: torch.Tensor) -> None:
        super().__init__()
        self.saved, self.found = saved, list[int]()

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, Epoch):
            tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
            tensors = [each for each in tensors if not is_fake(each)]  # which torch.compile in other tests leaves
            same = [each for each in tensors if each.shape == self.saved.shape and torch.equal(each, self.saved)]
            self.found.append(len(same) - 1)  # without its own


@pytest.mark.slow
def test_the_state_that_a_run_goes_on_from_does_not_stay_in_memory(begin: Begin, tmp_path: Path) -> None:
    trainer = begin(epochs=3, reporter=StopAfter(1))
    with pytest.raises(StopRequested):
        finish(trainer)
    plan, run_dir = trainer.plan, trainer.run_dir
    del trainer
    gc.collect()
    state_file = run_dir / "checkpoints" / "0001" / "state.pt"
    looks = LooksForTheState(resume_state.read(state_file)["model"]["student_model.model.0.conv.weight"].clone())
    train(plan, run_dir / "data.yaml", run_dir, looks, "cpu")
    assert looks.found == [0, 0]


@pytest.mark.slow
def test_a_state_of_another_format_is_refused(begin: Begin, tmp_path: Path) -> None:
    trainer = begin(folder=tmp_path / "run")
    finish(trainer)
    saved = resume_state.capture(trainer)
    with pytest.raises(ModelError, match="a resume state of format 2, got 1"):
        resume_state.restore(trainer, {**saved, "format": 1})
    saved["model"].popitem()
    with pytest.raises(ModelError, match="the resume state of this spec's network"):
        resume_state.restore(trainer, saved)


@pytest.mark.slow  # three processes that import torch
def test_a_killed_process_goes_on_to_the_very_same_weights(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "kind": "distill", "teacher": {"path": str(teacher_path)}, "student": {"architecture": "yolov8n-half"},
                "dataset": str(scenes), "train": {**TRAIN, "epochs": 6, "nbs": 8},
                "distillation": {"calibration": {"mode": "running", "steps": 2}},
            }
        )
    )  # fmt: skip

    def command(run_dir: Path) -> list[str]:
        return [sys.executable, "-m", "rdrkd", "distill", str(spec), "--run-dir", str(run_dir), "--device", "cpu"]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command(tmp_path / "straight"), env=environment, check=True, capture_output=True)
    child = subprocess.Popen(
        command(tmp_path / "cut"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "cut" / "checkpoints" / "0003").exists():
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (tmp_path / "cut" / "result.json").exists()
    subprocess.run(command(tmp_path / "cut"), env=environment, check=True, capture_output=True)
    one, two = (
        resume_state.read(tmp_path / name / "checkpoints" / "0006" / "state.pt") for name in ("straight", "cut")
    )
    assert_same(one, two)
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("straight", "cut")]
    assert results[0]["metrics"] == results[1]["metrics"]
