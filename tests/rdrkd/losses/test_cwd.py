import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from rdrkd.losses import build
from rdrkd.losses.cwd import channel_loss, standardised
from rdrkd.spec import Cwd
from tests.rdrkd.losses.contexts import WIDTHS, make_context

# --- numbers worked by hand ---


def test_loss_by_hand() -> None:
    # softmax over the cells: teacher (1/4, 3/4) and (1/2, 1/2), student (1/2, 1/2) in both channels
    teacher = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]], dtype=torch.float64).log()
    divergence = math.log(1 / 2) / 4 + 3 * math.log(3 / 2) / 4
    assert channel_loss(teacher, torch.zeros_like(teacher)).item() == pytest.approx(divergence / 2)
    # T = 2 gives the same softmax for twice the logits, and T^2 = 4 times the loss
    assert channel_loss(2 * teacher, torch.zeros_like(teacher), 2.0).item() == pytest.approx(2 * divergence)


def test_standardisation_by_hand() -> None:
    x = torch.tensor([[[[1.0, 3.0]], [[7.0, 7.0]]]], dtype=torch.float64)  # variance 1; constant
    assert standardised(x[:, :1], eps=0.0).flatten().tolist() == pytest.approx([-1.0, 1.0])
    assert standardised(x, eps=3.0).flatten().tolist() == pytest.approx([-0.5, 0.5, 0.0, 0.0])


# --- a slow reference that reads like the paper ---


def slow_standardised(x: list[list[list[float]]]) -> list[list[list[float]]]:
    """x[b][c][cell] -> the same."""
    found: list[list[list[float]]] = [[[] for _ in image] for image in x]
    for c in range(len(x[0])):
        values = [value for image in x for value in image[c]]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        for b, image in enumerate(x):
            found[b][c] = [(value - mean) / math.sqrt(variance + 1e-5) for value in image[c]]
    return found


def slow_loss(teacher: Tensor, student: Tensor, term: Cwd) -> float:
    maps = [x.detach().flatten(2).tolist() for x in (teacher, student)]
    t, s = [slow_standardised(x) for x in maps] if term.normalize == "batch" else maps
    total = 0.0
    for image_t, image_s in zip(t, s, strict=True):
        for of_t, of_s in zip(image_t, image_s, strict=True):
            e_t, e_s = ([math.exp(value / term.temperature) for value in channel] for channel in (of_t, of_s))
            p, q = [e / sum(e_t) for e in e_t], [e / sum(e_s) for e in e_s]
            total += sum(p_i * math.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True))
    return term.temperature**2 * total / (len(t) * len(t[0]))


@pytest.mark.parametrize("options", [{}, {"normalize": "none"}, {"temperature": 4.0, "levels": (4, 16)}])
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Cwd(**options), make_context()
    expected = [slow_loss(context.teacher[stride], context.student[stride], term) for stride in term.levels]
    found = [part.item() for part in build(term, WIDTHS)(context).parts.values()]
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_gradient_is_the_difference_of_the_distributions(temperature: float) -> None:
    """Of the sum over cells, the mean over images and channels: T (q - p) / (B C)."""
    teacher, student = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64).unbind(0)
    student.requires_grad_()
    channel_loss(teacher, student, temperature).backward()
    for b, c in product(range(3), range(4)):
        t, s = (x[b, c].flatten().tolist() for x in (teacher, student))
        e_t, e_s = ([math.exp(value / temperature) for value in x] for x in (t, s))
        expected = [temperature * (s / sum(e_s) - t / sum(e_t)) / 12 for s, t in zip(e_s, e_t, strict=True)]
        assert student.grad is not None
        assert student.grad[b, c].flatten().tolist() == pytest.approx(expected, abs=1e-14)


# --- invariants ---


def test_the_standardisation_is_batch_normalisation_without_parameters() -> None:
    x = 3 + 2 * torch.randn(3, 4, 5, 6, dtype=torch.float64)
    reference = nn.BatchNorm2d(4, affine=False, track_running_stats=False).double()
    torch.testing.assert_close(standardised(x), reference(x))


def test_never_negative_and_zero_only_for_the_same_distribution() -> None:
    teacher, student = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64).unbind(0)
    assert channel_loss(teacher, student).item() > 0
    shift = torch.randn(3, 4, 1, 1, dtype=torch.float64)
    assert channel_loss(teacher, teacher + shift).item() == pytest.approx(0, abs=1e-14)
    assert channel_loss(teacher, student + shift).item() == pytest.approx(channel_loss(teacher, student).item())


def test_standardised_maps_forget_scale_and_shift_of_a_channel() -> None:
    context = make_context()
    before = build(Cwd(), WIDTHS)(context).value.item()
    for stride, x in context.student.items():
        scale = torch.linspace(0.5, 3, x.shape[1], dtype=torch.float64)[:, None, None]
        context.student[stride] = scale * x - 7
    assert build(Cwd(), WIDTHS)(context).value.item() == pytest.approx(before, rel=1e-4)


def test_without_standardisation_a_faint_map_teaches_next_to_nothing() -> None:
    def slope(term: Cwd) -> float:
        context = make_context()
        faint = context.student[8].detach().mul(0.01).requires_grad_()
        context.teacher[8], context.student[8] = context.teacher[8] * 0.01, faint
        build(term, WIDTHS)(context).value.backward()
        assert faint.grad is not None
        return faint.grad.norm().item()

    assert slope(Cwd(levels=(8,))) > 100 * slope(Cwd(levels=(8,), normalize="none"))


@pytest.mark.parametrize("normalize", ["batch", "none"])
def test_constant_and_extreme_channels_stay_finite(normalize: str) -> None:
    context = make_context(dtype=torch.float32)
    with torch.no_grad():
        context.student[8][:, 0] = 3.0
        context.teacher[8][:, 1] = 0.0
        context.student[16].mul_(1e4)
    output = build(Cwd(normalize=normalize), WIDTHS)(context)
    output.value.backward()
    assert output.value.isfinite()
    assert all(context.student[stride].grad.isfinite().all() for stride in (8, 16, 32))


def test_a_map_of_one_cell_teaches_nothing() -> None:
    one, other = torch.randn(2, 1, 3, 1, 1).unbind(0)
    assert channel_loss(standardised(one), standardised(other)).item() == 0


# --- gradcheck ---


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradcheck(temperature: float) -> None:
    teacher = torch.randn(2, 3, 2, 3, dtype=torch.float64)

    def plain(student: Tensor) -> Tensor:
        return channel_loss(teacher, student, temperature)

    def whole(student: Tensor) -> Tensor:
        return channel_loss(standardised(teacher), standardised(student), temperature)

    student = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(plain, (student,))
    assert torch.autograd.gradcheck(whole, (student,))
