import pytest
import torch
from torch import Tensor, nn

from rdrkd.losses import build
from rdrkd.losses.generation_block import generation_block, generative_loss
from rdrkd.losses.mgd import random_mask
from rdrkd.spec import Mgd
from tests.rdrkd.losses.contexts import WIDTHS, make_context
from tests.rdrkd.losses.slow import slow_block

# --- numbers worked by hand ---


def test_loss_by_hand() -> None:
    teacher, rebuilt = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]]), torch.tensor([[[[0.0, 4.0]]], [[[3.0, 0.0]]]])
    assert generative_loss(teacher, rebuilt).item() == (1 + 4 + 9) / 2  # images add 5 and 9
    twice = generative_loss(teacher.repeat(1, 2, 1, 1), rebuilt.repeat(1, 2, 1, 1))
    assert twice.item() == 14  # a sum over channels


def test_rebuilding_by_hand() -> None:
    """Convolutions that copy leave what is not hidden, and what is negative to the ReLU."""
    block = generation_block(1)
    for layer in (block[0], block[2]):
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)
    student, mask = torch.tensor([[[[5.0, 2.0, -1.0]]]]), torch.tensor([[[[0.0, 1.0, 1.0]]]])
    assert block(student * mask).tolist() == [[[[0, 2, 0]]]]


# --- a slow reference that reads like the paper ---


def slow_loss(teacher: Tensor, student: Tensor, mask: Tensor, block: nn.Sequential) -> float:
    """L of one image and level."""
    channels, height, width = teacher.shape
    t, s, m = teacher.tolist(), student.tolist(), mask[0].tolist()
    masked = [[[s[k][i][j] * m[i][j] for j in range(width)] for i in range(height)] for k in range(channels)]
    rebuilt = slow_block(masked, block)
    return sum(
        (t[k][i][j] - rebuilt[k][i][j]) ** 2 for k in range(channels) for i in range(height) for j in range(width)
    )


@pytest.mark.parametrize("mask_ratio", [0.65, 0.2])
def test_the_term_agrees_with_the_slow_reference(mask_ratio: float) -> None:
    term, context = Mgd(levels=(16, 32), mask_ratio=mask_ratio), make_context()
    loss = build(term, WIDTHS).double()
    torch.manual_seed(7)
    output = loss(context)
    torch.manual_seed(7)
    for stride, name in ((16, "P4"), (32, "P5")):
        teacher, student = context.teacher[stride], context.student[stride]
        mask = random_mask(student, mask_ratio)
        block = loss.module.generators[name]
        expected = sum(slow_loss(teacher[b], student[b], mask[b], block) for b in range(2)) / 2
        assert output.parts[name].item() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_is_that_of_a_sum_over_channels_and_cells() -> None:
    teacher, rebuilt = torch.randn(2, 5, 3, 4, 6, dtype=torch.float64).unbind(0)
    rebuilt.requires_grad_()
    generative_loss(teacher, rebuilt).backward()
    torch.testing.assert_close(rebuilt.grad, 2 * (rebuilt.detach() - teacher) / 5)  # B is 5


# --- invariants ---


def test_a_cell_is_hidden_with_the_given_probability_in_all_channels_at_once() -> None:
    torch.manual_seed(0)
    mask = random_mask(torch.zeros(4, 7, 100, 100), 0.65)
    assert mask.shape == (4, 1, 100, 100)
    assert set(mask.unique().tolist()) == {0, 1}
    assert (1 - mask).mean((1, 2, 3)).tolist() == pytest.approx([0.65] * 4, abs=0.02)
    assert not torch.equal(mask[0], mask[1])


def test_masks_follow_the_seed_and_change_from_step_to_step() -> None:
    loss, context = build(Mgd(), WIDTHS).double(), make_context()

    def steps() -> list[float]:
        torch.manual_seed(3)
        return [loss(context).value.item() for _ in range(2)]

    first, second = steps()
    assert first != second
    assert steps() == [first, second]


def test_nothing_is_hidden_or_everything() -> None:
    context = make_context()
    student = context.student[16]
    assert random_mask(student, 0.0).min() == 1
    assert random_mask(student, 1.0).max() == 0
    loss = build(Mgd(levels=(16,), mask_ratio=1.0), WIDTHS).double()
    loss(context).value.backward()
    assert student.grad.abs().max() == 0  # nothing of the student came through, and the graph is kept


def test_what_is_hidden_has_no_gradient_and_every_weight_of_the_generator_has_one() -> None:
    loss, context = build(Mgd(levels=(8,)), WIDTHS).double(), make_context()
    torch.manual_seed(5)
    loss(context).value.backward()
    torch.manual_seed(5)
    gradient, mask = context.student[8].grad, random_mask(context.student[8], 0.65).expand(-1, 4, -1, -1)
    assert gradient[mask == 0].abs().max() == 0
    assert gradient[mask == 1].abs().min() > 0
    assert [tuple(p.shape) for p in loss.parameters()] == [(4, 4, 3, 3), (4,), (4, 4, 3, 3), (4,)]
    assert all(p.grad.abs().max() > 0 for p in loss.parameters())


# --- gradcheck ---


def test_gradcheck() -> None:
    torch.manual_seed(3)
    block = generation_block(2).double()
    teacher = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    student = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = random_mask(student, 0.4)
    names, weights = zip(*block.named_parameters(), strict=True)

    def loss(student: Tensor, *weights: Tensor) -> Tensor:
        given = dict(zip(names, weights, strict=True))
        return generative_loss(teacher, torch.func.functional_call(block, given, (student * mask,)))

    assert torch.autograd.gradcheck(loss, (student, *weights))
