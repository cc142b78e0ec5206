import math

import pytest
import torch
from torch import Tensor

from rdrkd.losses import build
from rdrkd.losses.nkd import non_target_loss, target_loss
from rdrkd.spec import Nkd
from tests.rdrkd.losses.contexts import WIDTHS, make_context

# --- numbers worked by hand ---


def test_by_hand() -> None:
    # softmax: teacher (1/2, 3/8, 1/8), student (1/4, 1/2, 1/4), label 0; the rest (3/4, 1/4) and (2/3, 1/3)
    teacher = torch.tensor([[4.0, 3.0, 1.0]], dtype=torch.float64).log()
    student = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64).log()
    label = torch.tensor([0])
    rest = 3 * math.log(3 / 2) / 4 + math.log(3) / 4
    assert target_loss(student, teacher, label).item() == pytest.approx(math.log(4) / 2)
    assert non_target_loss(student, teacher, label).item() == pytest.approx(rest)
    assert non_target_loss(2 * student, 2 * teacher, label, 2.0).item() == pytest.approx(rest)


# --- a slow reference that reads like the paper ---


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def slow(student: list[float], teacher: list[float], label: int, temperature: float) -> tuple[float, float]:
    """The target at temperature 1; the rest divided by what the target leaves of 1, at T."""
    target = -softmax(teacher)[label] * math.log(softmax(student)[label])
    p_s, p_t = softmax(student, temperature), softmax(teacher, temperature)
    rest = 0.0
    for j in range(len(student)):
        if j != label:
            rest -= p_t[j] / (1 - p_t[label]) * math.log(p_s[j] / (1 - p_s[label]))
    return target, rest


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 3.0, "gamma": 3.5},
        {"gamma": 0.5, "constant_logit": True},
        {"temperature": 2.0, "anchor_weight": "assigned"},
    ],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Nkd(**options), make_context()
    branch = context.branches[0]
    t, s = branch.teacher.scores.tolist(), branch.student.scores.tolist()
    parts, total = [0.0, 0.0], 0.0
    for b, i in branch.foreground.nonzero().tolist():
        logits = [[scores[b][j][i] for j in range(3)] + [0.0] * term.constant_logit for scores in (s, t)]
        weight = branch.target_scores[b, i].sum().item() if term.anchor_weight == "assigned" else 1.0
        found = slow(logits[0], logits[1], int(branch.labels[b, i]), term.temperature)
        parts = [part + weight * value for part, value in zip(parts, found, strict=True)]
        total += weight
    output = build(term, WIDTHS)(context)
    assert output.parts["target"].item() == pytest.approx(parts[0] / total, rel=1e-9)
    expected = term.gamma * term.temperature**2 * parts[1] / total
    assert output.parts["non_target"].item() == pytest.approx(expected, rel=1e-9)


# --- invariants ---


def test_the_parts_are_those_of_the_ordinary_cross_entropy_without_its_coupling() -> None:
    """CE(p^t, p^s) = target + (1 - p^t_y) (non-target - log(1 - p^s_y)): NKD drops the factor and the last term."""
    student, teacher = torch.randn(2, 30, 6, dtype=torch.float64).unbind(0)
    labels = torch.randint(6, (30,))
    whole = torch.nn.functional.cross_entropy(student, teacher.softmax(1), reduction="none")
    p_t, p_s = (z.softmax(1).gather(1, labels[:, None]).squeeze(1) for z in (teacher, student))
    rest = non_target_loss(student, teacher, labels) - torch.log1p(-p_s)
    torch.testing.assert_close(target_loss(student, teacher, labels) + (1 - p_t) * rest, whole)


def test_at_the_teacher_the_rest_is_at_its_entropy_and_the_target_still_rises() -> None:
    teacher = 2 * torch.randn(30, 6, dtype=torch.float64)
    labels = torch.randint(6, (30,))
    student = teacher.clone().requires_grad_()
    rest = non_target_loss(student, teacher, labels, 2.0)
    others = torch.stack([torch.cat([z[:y], z[y + 1 :]]) for z, y in zip(teacher, labels.tolist(), strict=True)])
    torch.testing.assert_close(rest, torch.distributions.Categorical(logits=others / 2).entropy())
    (gradient,) = torch.autograd.grad(rest.sum(), student)
    assert gradient.abs().max() < 1e-14
    (gradient,) = torch.autograd.grad(target_loss(student, teacher, labels).sum(), student)
    assert (gradient.gather(1, labels[:, None]) < 0).all()


def test_the_rest_does_not_see_the_target_nor_a_shift() -> None:
    student, teacher = torch.randn(2, 9, 4, dtype=torch.float64).unbind(0)
    labels = torch.randint(4, (9,))
    moved = student + 7
    moved.scatter_add_(1, labels[:, None], 5 * torch.ones(9, 1, dtype=torch.float64))
    torch.testing.assert_close(non_target_loss(moved, teacher, labels), non_target_loss(student, teacher, labels))


def test_two_classes_have_no_rest_to_compare() -> None:
    student, teacher = torch.randn(2, 5, 2).unbind(0)
    assert non_target_loss(student, teacher, torch.zeros(5, dtype=torch.long)).abs().max() == 0


def test_one_class_alone_teaches_nothing_and_a_constant_logit_makes_it_a_sigmoid() -> None:
    output = build(Nkd(), WIDTHS)(make_context(nc=1))
    output.value.backward()
    assert output.value.item() == 0
    z_s, z_t = 0.7, -0.4
    zero, label = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])
    student, teacher = (torch.cat([torch.full_like(zero, z), zero], 1) for z in (z_s, z_t))
    p_s, p_t = (1 / (1 + math.exp(-z)) for z in (z_s, z_t))
    assert target_loss(student, teacher, label).item() == pytest.approx(-p_t * math.log(p_s))


@pytest.mark.parametrize("extreme", [1e3, 1e4])
def test_finite_at_certainty(extreme: float) -> None:
    student = torch.tensor([[extreme, -extreme, 0.0], [-extreme, extreme, 0.0]], requires_grad=True)
    teacher, labels = student.detach().flip(0), torch.tensor([0, 2])
    loss = (target_loss(student, teacher, labels) + non_target_loss(student, teacher, labels)).sum()
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


# --- gradcheck ---


def test_gradcheck() -> None:
    teacher, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1])

    def loss(z: Tensor) -> Tensor:
        return target_loss(z, teacher, labels) + non_target_loss(z, teacher, labels, 2.0)

    assert torch.autograd.gradcheck(loss, (torch.randn(4, 3, dtype=torch.float64, requires_grad=True),))
