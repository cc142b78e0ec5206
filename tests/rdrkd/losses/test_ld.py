import math

import pytest
import torch
from torch import Tensor

from rdrkd.losses import build
from rdrkd.losses.ld import localization_loss
from rdrkd.spec import Ld
from tests.rdrkd.losses.contexts import WIDTHS, make_context, with_branch


def slow(student: list[float], teacher: list[float], temperature: float) -> float:
    """KL(softmax(d^t / T) || softmax(d^s / T)) of one side."""

    def softmax(logits: list[float]) -> list[float]:
        powers = [math.exp(value / temperature) for value in logits]
        return [power / sum(powers) for power in powers]

    return sum(t * math.log(t / s) for s, t in zip(softmax(student), softmax(teacher), strict=True))


# --- numbers worked by hand ---


def test_by_hand() -> None:
    # softmax(0, ln 3) = (1/4, 3/4) against (1/2, 1/2) on one of four sides: KL = 1/4 ln(1/2) + 3/4 ln(3/2)
    teacher = torch.zeros(1, 4, 2, dtype=torch.float64)
    teacher[0, 0, 1] = math.log(3)
    student = torch.zeros_like(teacher)
    expected = (math.log(0.5) / 4 + 3 * math.log(1.5) / 4) / 4
    weight = torch.tensor([0.5], dtype=torch.float64)
    assert localization_loss(student, teacher, weight, 2.0, 1.0).item() == pytest.approx(expected * 0.5 / 2)
    assert localization_loss(student, teacher, weight, 2.0, 1.0, "mean").item() == pytest.approx(expected * 0.5 / 4)


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 2.0, "normalizer": "positives"}, {"anchor_weight": "none", "bin_reduction": "mean"}],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Ld(**options), make_context()
    branch = context.branches[0]
    assert branch.teacher.sides is not None
    assert branch.student.sides is not None
    t, s = branch.teacher.sides.tolist(), branch.student.sides.tolist()
    total = weights = count = 0.0
    for b, i in branch.foreground.nonzero().tolist():
        score = branch.target_scores[b, i].sum().item()
        weight = score if term.anchor_weight == "assigned" else 1.0
        sides = [slow(s[b][i][side], t[b][i][side], term.temperature) for side in range(4)]
        total += weight * sum(sides) / 4
        weights += score
        count += 1
    norm = max(1.0, weights if term.normalizer == "assigned" else count)
    bins = 5 if term.bin_reduction == "mean" else 1
    expected = term.temperature**2 * total / norm / bins
    assert build(term, WIDTHS)(context).value.item() == pytest.approx(expected, rel=1e-9)


# --- invariants ---


def test_never_negative_and_blind_to_a_shift_of_the_logits() -> None:
    student, teacher = torch.randn(2, 50, 4, 16, dtype=torch.float64).unbind(0)
    weight = torch.ones(50, dtype=torch.float64)
    value = localization_loss(student, teacher, weight, 50.0)
    assert value > 0
    shifted = localization_loss(student + 3, teacher - torch.randn(50, 4, 1, dtype=torch.float64), weight, 50.0)
    assert shifted.item() == pytest.approx(value.item())


def test_finite_for_certain_distributions() -> None:
    certain = torch.full((1, 4, 3), -1e4)
    certain[..., 0] = 1e4
    student = certain.roll(1, dims=2).clone().requires_grad_()
    loss = localization_loss(student, certain, torch.ones(1), 1.0, 1.0)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_only_foreground_anchors_count() -> None:
    context = make_context()
    branch = context.branches[0]
    assert branch.student.sides is not None
    build(Ld(), WIDTHS)(context).value.backward()
    gradient = branch.student.sides.grad
    assert gradient is not None
    assert gradient[~branch.foreground].abs().max() == 0
    assert gradient[branch.foreground].abs().max() > 0
    nobody = with_branch(make_context(), foreground=torch.zeros_like(branch.foreground))
    assert build(Ld(), WIDTHS)(nobody).value.item() == 0


def test_gradcheck() -> None:
    student = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    teacher, weight = torch.randn(3, 4, 5, dtype=torch.float64), torch.rand(3, dtype=torch.float64)

    def loss(sides: Tensor) -> Tensor:
        return localization_loss(sides, teacher, weight, 2.0, 3.0)

    assert torch.autograd.gradcheck(loss, (student,))
