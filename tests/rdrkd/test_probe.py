import pytest
import torch
from torch import Tensor, nn

from rdrkd.losses import Output
from rdrkd.probe import Probe


class _Half(torch.autograd.Function):
    """A backward pass in fp16, as under AMP."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient.half().float()


def _observe(probe: Probe, factor: float) -> None:
    student = nn.Linear(1, 1, bias=False)
    nn.init.ones_(student.weight)
    value = (_Half.apply(student(torch.ones(1, 1))) * factor).sum()
    probe.observe(value, {"decoupled": Output(value, {"P2": value.detach()})}, student, objects=1)


def test_the_norm_is_of_the_weighted_term() -> None:
    probe = Probe({"decoupled": 0.25})
    _observe(probe, 8.0)
    assert probe.found == {"task/gradient_norm": 8.0, "decoupled/gradient_norm": 2.0, "decoupled/P2": 8.0}


@pytest.mark.parametrize(
    ("factor", "scale"),
    [(1e-9, 65536.0), (4.0, 65536.0)],
    ids=["would underflow without the loss scale", "overflows with it"],
)
def test_amp_hides_no_gradient(factor: float, scale: float) -> None:
    probe = Probe({"decoupled": 1.0})
    probe.loss_scale = lambda: scale
    _observe(probe, factor)
    assert probe.found["decoupled/gradient_norm"] == pytest.approx(factor, rel=0.02)
    assert not probe.guard.watching


def test_after_the_first_step_only_what_is_asked_for_is_probed() -> None:
    probe = Probe({"decoupled": 1.0})
    _observe(probe, 8.0)
    _observe(probe, 4.0)
    assert probe.found["task/gradient_norm"] == 8.0
    probe.wanted = True
    _observe(probe, 4.0)
    assert probe.found["task/gradient_norm"] == 4.0
