import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rdrkd.losses import build
from rdrkd.losses.pkd import normalised, pearson_loss
from rdrkd.spec import Pkd
from tests.rdrkd.losses.contexts import WIDTHS, doubled, make_context

# --- numbers worked by hand ---


def test_by_hand() -> None:
    # deviations of (1, 2, 3) and (3, 1, 2) are 1 each: (-1, 0, 1) against (1, -1, 0)
    teacher = torch.tensor([[[[1.0, 2.0, 3.0]]]], dtype=torch.float64)
    student = torch.tensor([[[[3.0, 1.0, 2.0]]]], dtype=torch.float64)
    assert normalised(student, 0.0).flatten().tolist() == pytest.approx([1, -1, 0])
    assert pearson_loss(teacher, student, 0.0).item() == pytest.approx((4 + 1 + 1) / 3 / 2)
    # the correlation is -1/2: 2/3 of 1 - r
    assert pearson_loss(teacher, student, 0.0).item() == pytest.approx(2 / 3 * 1.5)
    assert normalised(student, 3.0).flatten().tolist() == pytest.approx([1 / 4, -1 / 4, 0])


# --- a slow reference that reads like the paper ---


def slow_loss(teacher: Tensor, student: Tensor) -> float:
    """(n - 1) / n x the mean over the channels of 1 - r."""
    total = 0.0
    channels = teacher.shape[1]
    for c in range(channels):
        t, s = teacher[:, c].flatten().tolist(), student[:, c].flatten().tolist()
        n = len(t)
        mean_t, mean_s = sum(t) / n, sum(s) / n
        joint = sum((x - mean_t) * (y - mean_s) for x, y in zip(t, s, strict=True))
        r = joint / math.sqrt(sum((x - mean_t) ** 2 for x in t) * sum((y - mean_s) ** 2 for y in s))
        total += (n - 1) / n * (1 - r)
    return total / channels


def test_the_term_agrees_with_the_slow_reference() -> None:
    term, context = Pkd(levels=(4, 8, 16, 32), eps=1e-12), make_context()
    expected = [slow_loss(context.teacher[stride], context.student[stride]) for stride in term.levels]
    found = [part.item() for part in build(term, WIDTHS)(context).parts.values()]
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_gradient_is_that_of_the_correlation() -> None:
    """Of (n - 1) / n mean_c (1 - r_c): -(F^^t - r F^^s) / (n C deviation), so that it stands across F^^s."""
    teacher, student = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64).unbind(0)
    student.requires_grad_()
    pearson_loss(teacher, student, 0.0).backward()
    assert student.grad is not None
    n, channels = 2 * 4 * 5, 3
    for c in range(channels):
        t, s = (x[:, c].flatten().tolist() for x in (teacher, student.detach()))
        centered = [[value - sum(x) / n for value in x] for x in (t, s)]
        deviations = [math.sqrt(sum(value**2 for value in x) / (n - 1)) for x in centered]
        t, s = ([value / d for value in x] for x, d in zip(centered, deviations, strict=True))
        r = sum(a * b for a, b in zip(t, s, strict=True)) / (n - 1)
        expected = [-(a - r * b) / (n * channels * deviations[1]) for a, b in zip(t, s, strict=True)]
        found = student.grad[:, c].flatten().tolist()
        assert found == pytest.approx(expected, abs=1e-14)
        assert sum(g * b for g, b in zip(found, s, strict=True)) == pytest.approx(0, abs=1e-13)


# --- invariants ---


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.floats(0.01, 100), st.floats(-50, 50))
def test_scale_and_shift_of_a_channel_change_nothing_and_the_opposite_is_worst(
    seed: int, scale: float, shift: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    teacher, student = torch.randn(2, 2, 3, 4, 5, generator=random, dtype=torch.float64).unbind(0)
    n = 2 * 4 * 5
    loss = pearson_loss(teacher, student, 1e-12).item()
    assert 0 <= loss <= 2
    assert pearson_loss(teacher, scale * student + shift, 1e-12).item() == pytest.approx(loss)
    assert pearson_loss(teacher, scale * teacher + shift, 1e-12).item() == pytest.approx(0, abs=1e-9)
    assert pearson_loss(teacher, shift - scale * teacher, 1e-12).item() == pytest.approx(2 * (n - 1) / n)


def test_doubling_the_batch_changes_only_the_degrees_of_freedom() -> None:
    context, term = make_context(), Pkd(levels=(16,), eps=1e-12)
    n = context.teacher[16][:, 0].numel()
    once, twice = (build(term, WIDTHS)(each).value.item() for each in (context, doubled(context)))
    assert twice / once == pytest.approx(((2 * n - 1) / (2 * n)) / ((n - 1) / n))


def test_a_constant_channel_has_a_bounded_gradient_that_the_published_eps_does_not_give() -> None:
    teacher = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def slope(eps: float) -> float:
        student = torch.full_like(teacher, 0.5).requires_grad_()
        pearson_loss(teacher, student, eps).backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()
        return student.grad.abs().max().item()

    assert slope(1e-6) > 1e4
    assert slope(Pkd().eps) < 1e4


def test_a_constant_teacher_channel_and_a_single_cell_are_finite() -> None:
    context = make_context(dtype=torch.float32)
    with torch.no_grad():
        context.teacher[8][:, 0] = 2.0
        context.student[8][:, 0] = -1.0
    output = build(Pkd(), WIDTHS)(context)
    output.value.backward()
    assert output.value.isfinite()
    assert context.student[8].grad.isfinite().all()
    student = torch.randn(1, 3, 1, 1, requires_grad=True)
    alone = pearson_loss(torch.randn(1, 3, 1, 1), student)
    alone.backward()
    assert alone.item() == 0
    assert student.grad is not None
    assert student.grad.isfinite().all()


# --- gradcheck ---


def test_gradcheck() -> None:
    teacher = torch.randn(2, 3, 2, 3, dtype=torch.float64)

    def loss(student: Tensor) -> Tensor:
        return pearson_loss(teacher, student)

    assert torch.autograd.gradcheck(loss, (torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True),))
