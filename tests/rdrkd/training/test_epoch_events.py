"""What an epoch tells of its probes and its time."""

from pathlib import Path

import pytest
import torch

from rdrkd.events import Epoch, Progress
from rdrkd.reporter import Memory
from tests.rdrkd.training.conftest import Begin


@pytest.mark.parametrize("probed", [True, False])
def test_an_epoch_tells_of_its_own_probes_alone(begin: Begin, tmp_path: Path, probed: bool) -> None:
    memory = Memory()
    trainer = begin(tmp_path / "run", reporter=memory)
    trainer._setup_train()
    assert trainer.distiller is not None
    probe = trainer.distiller.probe
    probe.found, probe.made = {"task/gradient_norm": 1.0, "decoupled/ratio": float("nan")}, 6  # of the epoch before
    trainer.epoch, trainer.tloss = 0, {}
    trainer.epoch_events.epoch_begins()
    probe.made += probed
    trainer.epoch_events.epoch_ended()
    (epoch,) = (event for event in memory.events if isinstance(event, Epoch))
    assert epoch.diagnostics == ({"task/gradient_norm": 1.0} if probed else {})


def test_the_first_batch_is_told_at_once(begin: Begin, tmp_path: Path) -> None:
    memory = Memory()
    trainer = begin(tmp_path / "run", distillation={"preset": "none"}, reporter=memory)
    trainer._setup_train()
    trainer.epoch = 0
    trainer.epoch_events.epoch_begins()
    for _ in range(3):  # well within a second
        trainer.epoch_events.batch_ended()
    assert [event.completed for event in memory.events if isinstance(event, Progress)] == [1]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_processor_time_is_told_of_a_training_on_the_cpu(begin: Begin, tmp_path: Path, device: str) -> None:
    memory = Memory()
    trainer = begin(tmp_path / "run", distillation={"preset": "none"}, reporter=memory)
    trainer._setup_train()
    trainer.epoch, trainer.tloss = 0, {}
    trainer.epoch_events.epoch_begins()
    trainer.device = torch.device(device)
    trainer.epoch_events.epoch_ended()
    (epoch,) = (event for event in memory.events if isinstance(event, Epoch))
    assert (epoch.processor_seconds is None) == (device == "cuda")
