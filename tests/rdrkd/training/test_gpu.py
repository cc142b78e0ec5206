"""What only a GPU can show: mixed precision with its loss scale, loader processes, compiled networks, real shortage."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rdrkd.errors import StopRequested
from rdrkd.training import resume_state
from tests.rdrkd.stopping import StopAfter
from tests.rdrkd.training.conftest import Begin, finish, losses

pytestmark = pytest.mark.gpu


def assert_learns(trainer: Any) -> None:
    told = losses(trainer)
    assert not trainer.distiller.probe.guard.watching
    assert all(math.isfinite(value) for value in told.values())
    assert all(told[name] > 0 for name in ("regenerated", "decoupled", "responsive"))
    assert next(trainer.distiller.teacher_model.parameters()).is_cuda


@pytest.mark.parametrize("amp", [False, True, "bf16"])
@pytest.mark.parametrize("calibration", [None, {"steps": 4}])
def test_a_pair_trains_in_each_precision(amp: Any, calibration: Any, begin: Begin) -> None:
    trainer = begin(
        device="0", epochs=3, imgsz=320, amp=amp, distillation={"preset": "rdr-kd", "calibration": calibration}
    )
    finish(trainer)
    assert trainer.dtype == {False: None, True: torch.float16, "bf16": torch.bfloat16}[amp]
    assert trainer.scaler.is_enabled() == (amp is True)
    assert_learns(trainer)


def test_every_family_trains_with_fp16(begin: Begin, tmp_path: Path) -> None:
    for student in ("yolov8n-p2", "yolo11n", "yolo26n"):
        terms = {"losses": [{"name": "regenerated"}, {"name": "decoupled"}]}
        trainer = begin(folder=tmp_path / student, device="0", imgsz=320, student=student, distillation=terms)
        finish(trainer)
        assert all(math.isfinite(value) for value in losses(trainer).values())


def test_compiled_networks_learn(begin: Begin) -> None:
    trainer = begin(device="0", epochs=2, imgsz=320, compile=True)
    finish(trainer)
    assert_learns(trainer)


def test_a_resume_with_loader_processes_is_the_same_training(begin: Begin, tmp_path: Path) -> None:
    settings = {"device": "0", "epochs": 4, "workers": 2, "amp": False, "nbs": 8}
    straight = finish(begin(folder=tmp_path / "straight", **settings))
    with pytest.raises(StopRequested):
        finish(begin(folder=tmp_path / "cut", reporter=StopAfter(2), **settings))
    resumed = finish(begin(folder=tmp_path / "cut", **settings))
    for key, value in straight["model"].items():  # some kernels of a GPU are not deterministic
        torch.testing.assert_close(resumed["model"][key], value, rtol=1e-2, atol=1e-3, msg=key)
    assert (
        resume_state.read(tmp_path / "cut" / "checkpoints" / "0004" / "state.pt")["last_step"] == straight["last_step"]
    )


def test_a_batch_that_does_not_fit_is_halved(begin: Begin) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.5e9 / total)
    try:
        trainer = begin(device="0", epochs=1, imgsz=1280, batch=12, nbs=12, amp=False)
        finish(trainer)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert trainer.batch_size < 12
    assert_learns(trainer)
