import math

import pytest
import torch
from torch import Tensor, nn

from rdrkd.diagnostics.gradient import Gradient
from rdrkd.run import cost

MIB = 1 << 20


def losses_of(width: int, layers: int, count: int) -> tuple[list[nn.Parameter], list[Tensor]]:
    """Return a network's parameters, one of them used twice and one not at all, and losses that share its graph."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(width, width) / width**0.5) for _ in range(layers)]
    x = torch.randn(4, width)
    for each in (*parameters, parameters[0]):
        x = torch.tanh(x @ each)
    return [*parameters, nn.Parameter(torch.ones(3))], [(x * torch.randn(4, width)).sum() for _ in range(count)]


def flat(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([part.flatten() for part in found if part is not None])


def test_norms_and_cosines_are_those_of_the_whole_gradients() -> None:
    parameters, (task, *terms) = losses_of(16, 3, 4)
    gradient = Gradient(parameters, lambda: 1.0)
    assert gradient.norm(task, keep=True) == pytest.approx(float(flat(task, parameters).norm()), rel=1e-5)
    for term in terms:
        assert gradient.norm(term) == pytest.approx(float(flat(term, parameters).norm()), rel=1e-5)
        expected = torch.cosine_similarity(flat(term, parameters), flat(task, parameters), dim=0)
        assert gradient.cosine == pytest.approx(float(expected), abs=1e-5)


def test_a_measurement_leaves_the_training_step_as_it_was() -> None:
    parameters, (task, term) = losses_of(16, 3, 2)
    expected = flat(task + term, parameters)
    Gradient(parameters, lambda: 1.0).norm(term)
    (task + term).backward()
    assert torch.equal(torch.cat([each.grad.flatten() for each in parameters if each.grad is not None]), expected)


def test_a_constant_has_no_gradient_and_an_infinite_one_is_told() -> None:
    parameters, (task,) = losses_of(4, 1, 1)
    gradient = Gradient(parameters, lambda: 1.0)
    assert gradient.norm(torch.tensor(3.0)) == 0.0
    assert math.isinf(gradient.norm(task * math.inf)) or math.isnan(gradient.norm(task * math.inf))
    assert gradient.cosine == 0.0


def test_no_gradient_is_held_whole_unless_it_is_kept() -> None:
    """Sixteen parameters of 1 MiB, measured for three losses: what is there at once does not grow with either."""
    parameters, losses = losses_of(512, 16, 3)

    def step() -> None:
        gradient = Gradient(parameters, lambda: 1.0)
        for loss in losses:
            gradient.norm(loss)

    assert cost.peaks({"measured": step}, "cpu")["measured"] < 6
