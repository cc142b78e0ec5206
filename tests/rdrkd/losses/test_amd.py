import math

import pytest
import torch
from torch import Tensor, nn

from rdrkd.losses import build
from rdrkd.losses.amd import AmdLevel, ChannelWeights, attention_mask
from rdrkd.losses.generation_block import generative_loss
from rdrkd.spec import Amd
from tests.rdrkd.losses.contexts import WIDTHS, make_context
from tests.rdrkd.losses.slow import slow_block

GOLDEN = torch.tensor([[[[1.0, 3.0]], [[-1.0, 0.0]]]], dtype=torch.float64)  # attention (0.54, 1.46) at T = 0.5

# --- numbers worked by hand ---


def test_mask_by_hand() -> None:
    assert attention_mask(GOLDEN).flatten().tolist() == [1, 0]
    assert attention_mask(GOLDEN, tau_s=1.5).flatten().tolist() == [1, 1]
    assert attention_mask(GOLDEN, tau_s=0.5).flatten().tolist() == [0, 0]
    even = torch.ones(1, 2, 1, 2)  # every attention is exactly 1: a threshold that is met does not hide
    assert attention_mask(even).min() == 1


def test_channel_weights_by_hand() -> None:
    module = ChannelWeights(2, 1).double()
    with torch.no_grad():
        module.layers[0].weight.copy_(torch.eye(2))
        module.layers[0].bias.zero_()
        module.layers[2].weight.copy_(torch.tensor([[math.log(3) / 2, 5.0], [0.0, 9.0]]))
        module.layers[2].bias.zero_()
    # means (2, -1/2) -> ReLU (2, 0) -> (log 3, 0) -> sigmoid (3/4, 1/2)
    assert module(GOLDEN).flatten().tolist() == pytest.approx([0.75, 0.5])


def test_loss_by_hand() -> None:
    teacher, rebuilt = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]]), torch.tensor([[[[0.0, 4.0]]], [[[3.0, 0.0]]]])
    assert generative_loss(teacher, rebuilt).item() == (1 + 4 + 9) / 2  # images add 5 and 9


# --- a slow reference that reads like the formula ---


def slow_loss(teacher: Tensor, student: Tensor, term: Amd, level: AmdLevel) -> float:
    """L of one image and level."""
    t, s = teacher.tolist(), student.tolist()
    channels, height, width = teacher.shape
    cells = [(i, j) for i in range(height) for j in range(width)]
    power = {
        (i, j): math.exp(sum(abs(t[k][i][j]) for k in range(channels)) / channels / term.temperature) for i, j in cells
    }
    mask = {cell: 0 if len(cells) * e / sum(power.values()) > term.tau_s else 1 for cell, e in power.items()}
    masked = [[[s[k][i][j] * mask[i, j] for j in range(width)] for i in range(height)] for k in range(channels)]
    rebuilt = slow_block(masked, level.generator)
    first, _, second, _ = level.channels.layers
    means = [sum(t[k][i][j] for i, j in cells) / len(cells) for k in range(channels)]
    inner = [max(0.0, value) for value in slow_linear(means, first)]
    weights = [1 / (1 + math.exp(-value)) for value in slow_linear(inner, second)]
    return sum((t[k][i][j] - weights[k] * rebuilt[k][i][j]) ** 2 for k in range(channels) for i, j in cells)


def slow_linear(x: list[float], layer: nn.Linear) -> list[float]:
    rows, biases = layer.weight.tolist(), layer.bias.tolist()
    return [b + sum(w * value for w, value in zip(row, x, strict=True)) for row, b in zip(rows, biases, strict=True)]


@pytest.mark.parametrize("options", [{}, {"tau_s": 0.8, "temperature": 1.0, "squeeze": 2}])
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Amd(levels=(16, 32), **options), make_context()
    torch.manual_seed(1)
    loss = build(term, WIDTHS).double()
    output = loss(context)
    for stride, name in ((16, "P4"), (32, "P5")):
        teacher, student = context.teacher[stride], context.student[stride]
        expected = sum(slow_loss(teacher[b], student[b], term, loss.module.levels[name]) for b in range(2)) / 2
        assert output.parts[name].item() == pytest.approx(expected, rel=1e-9)


# --- invariants ---


def test_what_the_teacher_attends_to_is_hidden_from_the_student() -> None:
    torch.manual_seed(0)
    loss, context = build(Amd(levels=(8,)), WIDTHS).double(), make_context()
    output = loss(context)
    output.value.backward()
    mask = attention_mask(context.teacher[8])
    gradient = context.student[8].grad
    assert gradient[(mask == 0).expand_as(gradient)].abs().max() == 0
    assert gradient[(mask == 1).expand_as(gradient)].abs().min() > 0
    energy = context.teacher[8].abs().mean(1, keepdim=True)
    for image in range(2):
        assert energy[image][mask[image] == 0].min() > energy[image][mask[image] == 1].max()
    assert output.shares["P3/hidden_cells"].item() == pytest.approx(1 - mask.mean().item())


def test_thresholds_hide_nothing_or_everything() -> None:
    context = make_context()
    assert build(Amd(tau_s=1e300), WIDTHS).double()(context).shares["P4/hidden_cells"].item() == 0
    output = build(Amd(tau_s=1e-300, levels=(16,)), WIDTHS).double()(context)
    assert output.shares == {"P4/hidden_cells": 1}
    output.value.backward()
    assert context.student[16].grad.abs().max() == 0  # nothing of the student came through, and the graph is kept


def test_channel_weights_follow_the_teacher_alone_and_are_never_without_a_channel_inside() -> None:
    module = ChannelWeights(4, 16)
    assert module.layers[0].out_features == 1
    x = 3 * torch.randn(5, 4, 6, 7)
    weights = module(x)
    assert weights.shape == (5, 4, 1, 1)
    assert 0 < weights.min() < weights.max() < 1
    torch.testing.assert_close(module(x.flip(3)), weights)


# --- gradcheck ---


def test_gradcheck() -> None:
    torch.manual_seed(3)
    level = AmdLevel(2, 1).double()
    teacher = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    student = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = attention_mask(teacher)
    names, weights = zip(*level.named_parameters(), strict=True)

    def of(part: str, given: dict[str, Tensor], x: Tensor) -> Tensor:
        inside = {name.removeprefix(f"{part}."): w for name, w in given.items() if name.startswith(f"{part}.")}
        return torch.func.functional_call(getattr(level, part), inside, (x,))

    def loss(student: Tensor, *weights: Tensor) -> Tensor:
        given = dict(zip(names, weights, strict=True))
        return generative_loss(teacher, of("channels", given, teacher) * of("generator", given, student * mask))

    assert torch.autograd.gradcheck(loss, (student, *weights))
