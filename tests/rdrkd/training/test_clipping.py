"""The optimiser step of a pair: the student's gradient is clipped as if the student were trained alone."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rdrkd.training.clipping import MAX_NORM
from rdrkd.training.trainer import Trainer, student_of
from tests.rdrkd.training.conftest import Begin


def stepped(trainer: Trainer, student_norm: float, projector_norm: float) -> tuple[dict[str, Tensor], float]:
    """Step with gradients of given norms; give what the optimiser saw of the student's, and of the projector's norm."""
    trainer._setup_train()
    student = student_of(trainer.model)
    parts: list[tuple[nn.Module, float]] = [(student, student_norm)]
    if trainer.distiller is not None:
        parts.append((trainer.distiller.projector, projector_norm))
    for part, size in parts:
        torch.manual_seed(3)
        for parameter in part.parameters():
            parameter.grad = torch.randn_like(parameter)
        scale = size / norm(part)
        for parameter in part.parameters():
            assert parameter.grad is not None
            parameter.grad *= scale
    seen: list[tuple[dict[str, Tensor], float]] = []

    def look(*_: object) -> None:
        own = {name: each.grad.clone() for name, each in student.named_parameters() if each.grad is not None}
        seen.append((own, norm(trainer.distiller.projector) if trainer.distiller is not None else 0.0))

    trainer.optimizer.register_step_pre_hook(look)
    trainer.optimizer_step()
    (found,) = seen
    return found


def norm(part: nn.Module) -> float:
    return float(nn.utils.get_total_norm(_gradients(part.parameters())))


def _gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize(("student_norm", "projector_norm"), [(3.0, 0.5), (3.0, 4000.0), (70.0, 0.1), (70.0, 4000.0)])
def test_the_student_is_clipped_as_if_it_were_alone(
    begin: Begin, tmp_path: Path, optimizer: str, student_norm: float, projector_norm: float
) -> None:
    alone, _ = stepped(
        begin(tmp_path / "alone", distillation={"preset": "none"}, optimizer=optimizer), student_norm, projector_norm
    )
    beside, of_projector = stepped(begin(tmp_path / "pair", optimizer=optimizer), student_norm, projector_norm)
    assert_same(beside, alone)
    assert of_projector == pytest.approx(min(projector_norm, MAX_NORM), rel=1e-4)
