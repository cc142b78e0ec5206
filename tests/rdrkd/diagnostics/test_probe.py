import pytest
import torch
from torch import Tensor, nn

from rdrkd.diagnostics.probe import Probe, dead_channels
from rdrkd.losses import Output


class _Half(torch.autograd.Function):
    """A backward pass in fp16, as under AMP."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient.half().float()


def _observe(
    probe: Probe, slope: float, weight: float = 1.0, measure: bool = False, factor: float = 1.0
) -> dict[str, float] | None:
    """One step of a student with one parameter: the task's gradient is `slope`, the term's likewise."""
    student = nn.Linear(1, 1, bias=False)
    nn.init.ones_(student.weight)
    value = (_Half.apply(student(torch.ones(1, 1))) * slope).sum()
    norms = probe.observe(value, {"decoupled": Output.of({"P2": value})}, student, objects=1, measure=measure)
    if probe.fresh:
        probe.weigh({"decoupled": weight}, factor)
    return norms


def test_the_norms_are_of_the_weighted_term_and_of_its_parts() -> None:
    probe = Probe({"decoupled": 0.25})
    _observe(probe, 8.0, weight=0.25)
    assert probe.found == {
        "task/gradient_norm": 8.0,
        "batch/objects": 1.0,
        "schedule/factor": 1.0,
        "decoupled/gradient_norm": 2.0,
        "decoupled/ratio": 0.25,
        "decoupled/cosine": 1.0,
        "decoupled/P2": 8.0,
        "decoupled/P2/gradient_norm": 2.0,
        "decoupled/P2/ratio": 0.25,
    }


def test_the_schedule_s_factor_is_in_the_norms_and_beside_them() -> None:
    probe = Probe({"decoupled": 0.25})
    _observe(probe, 8.0, weight=0.25, factor=0.5)
    assert probe.found["schedule/factor"] == 0.5
    assert probe.found["decoupled/gradient_norm"] == 1.0
    assert probe.found["decoupled/ratio"] == probe.found["decoupled/P2/ratio"] == 0.125
    probe.fresh = False
    _observe(probe, 8.0, factor=0.0)  # no probe is due: the factor stays that of the probed step
    assert probe.found["schedule/factor"] == 0.5


def test_the_cosine_tells_a_term_that_pulls_against_the_task() -> None:
    student = nn.Linear(2, 1, bias=False)
    nn.init.ones_(student.weight)
    task = (student.weight * torch.tensor([3.0, 4.0])).sum()
    outputs = {
        "decoupled": Output.of({"P2": (student.weight * torch.tensor([-3.0, -4.0])).sum()}),
        "regenerated": Output.of({"P2": (student.weight * torch.tensor([4.0, -3.0])).sum()}),
    }
    probe = Probe({"decoupled": 1.0, "regenerated": 1.0})
    probe.observe(task, outputs, student, objects=1)
    assert probe.found["decoupled/cosine"] == pytest.approx(-1)
    assert probe.found["regenerated/cosine"] == pytest.approx(0, abs=1e-6)


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


def test_steps_1_and_100_and_what_is_asked_for_are_probed() -> None:
    probe = Probe({"decoupled": 1.0})
    probed = []
    for step in range(1, 103):
        probe.wanted = step == 50
        _observe(probe, 8.0)
        if probe.fresh:
            probed.append(step)
            probe.fresh = False
    assert probed == [1, 50, 100]


def test_norms_are_given_unweighted_where_they_are_measured() -> None:
    probe = Probe({"decoupled": 0.25})
    assert _observe(probe, 8.0, weight=0.25) == {"decoupled": 8.0, "task": 8.0}
    assert _observe(probe, 4.0, weight=0.25) is None
    assert _observe(probe, 4.0, weight=0.25, measure=True) == {"decoupled": 4.0, "task": 4.0}
    assert probe.found["task/gradient_norm"] == 8.0  # measuring alone is no full probe


def test_dead_channels_by_hand() -> None:
    x = torch.zeros(2, 4, 3, 3)
    x[:, 0] = torch.randn(2, 3, 3)
    x[:, 1] = 5.0  # constant, not zero
    x[:, 2] = torch.randn(2, 3, 3) * 1e-5  # next to nothing beside the others
    assert dead_channels(x) == 0.75
    assert dead_channels(torch.zeros(1, 2, 1, 2)) == 1.0
