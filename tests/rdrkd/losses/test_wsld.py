import math

import pytest
import torch
from torch import Tensor

from rdrkd.losses import build
from rdrkd.losses.wsld import sample_weight, soft_label_loss
from rdrkd.spec import Wsld
from tests.rdrkd.losses.contexts import WIDTHS, make_context

# --- numbers worked by hand ---


def test_by_hand() -> None:
    # softmax: teacher (1/2, 1/4, 1/4), student (1/4, 1/2, 1/4), label 0: c^t = ln 2, c^s = 2 ln 2, w = 1 - e^-2
    teacher = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
    student = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64).log()
    label = torch.tensor([0])
    weight = 1 - math.exp(-2)
    entropy = math.log(4) / 2 + math.log(2) / 4 + math.log(4) / 4
    assert sample_weight(student, teacher, label).item() == pytest.approx(weight, rel=1e-6)
    assert soft_label_loss(student, teacher, label, 1.0).item() == pytest.approx(weight * entropy, rel=1e-6)
    # twice the logits: at T = 2 the soft labels stay, T^2 is 4, and the weight is that of the sharper scores
    sharper = 1 - math.exp(-math.log(6) / math.log(1.5))  # (4, 1, 1) / 6 against (1, 4, 1) / 6
    found = soft_label_loss(2 * student, 2 * teacher, label)
    assert found.item() == pytest.approx(4 * sharper * entropy, rel=1e-6)


# --- a slow reference that reads like the paper ---


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def slow(student: list[float], teacher: list[float], label: int, temperature: float) -> float:
    weight = 1 - math.exp(-math.log(softmax(student)[label]) / (math.log(softmax(teacher)[label]) - 1e-7))
    soft, given = softmax(teacher, temperature), softmax(student, temperature)
    return temperature**2 * weight * -sum(t * math.log(s) for t, s in zip(soft, given, strict=True))


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0, "constant_logit": True}, {"temperature": 4.0, "anchor_weight": "assigned"}]
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Wsld(**options), make_context()
    branch = context.branches[0]
    t, s = branch.teacher.scores.tolist(), branch.student.scores.tolist()
    total = weights = 0.0
    for b, i in branch.foreground.nonzero().tolist():
        logits = [[scores[b][j][i] for j in range(3)] + [0.0] * term.constant_logit for scores in (s, t)]
        weight = branch.target_scores[b, i].sum().item() if term.anchor_weight == "assigned" else 1.0
        total += weight * slow(logits[0], logits[1], int(branch.labels[b, i]), term.temperature)
        weights += weight
    assert build(term, WIDTHS)(context).value.item() == pytest.approx(total / weights, rel=1e-9)


# --- invariants ---


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_of_the_teacher_itself_a_share_of_the_entropy_is_left_and_no_gradient(temperature: float) -> None:
    """(1 - 1/e) T^2 H(p_t)."""
    teacher = 2 * torch.randn(30, 6, dtype=torch.float64)
    student = teacher.clone().requires_grad_()
    found = soft_label_loss(student, teacher, torch.randint(6, (30,)), temperature)
    entropy = torch.distributions.Categorical(logits=teacher / temperature).entropy()
    torch.testing.assert_close(found, (1 - math.exp(-1)) * temperature**2 * entropy, rtol=1e-4, atol=0)
    found.sum().backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-14


def test_the_weight_is_between_0_and_1_and_falls_as_the_student_gets_surer() -> None:
    teacher, labels = torch.zeros(50, 3, dtype=torch.float64), torch.zeros(50, dtype=torch.long)
    student = torch.zeros_like(teacher)
    student[:, 0] = torch.linspace(-5, 20, 50)
    weights = sample_weight(student, teacher, labels)
    assert (weights.diff() < 0).all()
    assert 0 < weights.min() < 1e-6
    assert weights.max() < 1


def test_the_weight_is_exact_in_fp32_where_both_are_sure() -> None:
    """-log p_y is about 1e-6 here: a difference of logits of about 15 is rounded by as much."""
    teacher = torch.randn(200, 5, dtype=torch.float64)
    labels = torch.randint(5, (200,))
    teacher.scatter_add_(1, labels[:, None], torch.full((200, 1), 15.0, dtype=torch.float64))
    student = teacher + 0.1 * torch.randn_like(teacher)
    exact = sample_weight(student, teacher, labels)
    found = sample_weight(student.float(), teacher.float(), labels)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=0)


def test_the_gradient_is_that_of_the_soft_labels_weighted_and_none_of_the_weight() -> None:
    student, teacher = torch.randn(2, 20, 4, dtype=torch.float64).unbind(0)
    labels = torch.randint(4, (20,))
    student.requires_grad_()
    soft_label_loss(student, teacher, labels, 3.0).sum().backward()
    away = (student / 3).softmax(1) - (teacher / 3).softmax(1)
    expected = 3 * sample_weight(student, teacher, labels)[:, None] * away.detach()
    torch.testing.assert_close(student.grad, expected)


def test_a_shift_of_all_logits_changes_nothing() -> None:
    student, teacher = torch.randn(2, 9, 4, dtype=torch.float64).unbind(0)
    labels = torch.randint(4, (9,))
    shifted = soft_label_loss(student + 7, teacher - torch.randn(9, 1, dtype=torch.float64), labels)
    torch.testing.assert_close(shifted, soft_label_loss(student, teacher, labels))


def test_one_class_alone_teaches_nothing_and_a_constant_logit_makes_it_a_sigmoid() -> None:
    context = make_context(nc=1)
    output = build(Wsld(), WIDTHS)(context)
    output.value.backward()
    assert output.value.item() == 0
    z_s, z_t = 0.7, -0.4
    zero, label = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])
    student, teacher = (torch.cat([torch.full_like(zero, z), zero], 1) for z in (z_s, z_t))
    p_s, p_t = (1 / (1 + math.exp(-z)) for z in (z_s, z_t))
    weight = 1 - math.exp(-math.log(p_s) / math.log(p_t))
    expected = weight * -(p_t * math.log(p_s) + (1 - p_t) * math.log(1 - p_s))
    assert soft_label_loss(student, teacher, label, 1.0).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("extreme", [30.0, 1e3, 1e4])
def test_finite_at_certainty(extreme: float, dtype: torch.dtype) -> None:
    student = torch.tensor([[extreme, -extreme, 0.0], [-extreme, extreme, 0.0]], dtype=dtype, requires_grad=True)
    for teacher in (student.detach(), student.detach().flip(0)):
        weight = sample_weight(student, teacher, torch.tensor([0, 2]))
        assert 0 <= weight.min() <= weight.max() <= 1
        loss = soft_label_loss(student, teacher, torch.tensor([0, 2])).sum()
        loss.backward()
        assert loss.isfinite()
        assert student.grad is not None
        assert student.grad.isfinite().all()


# --- gradcheck ---


def test_gradcheck() -> None:
    teacher, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1])
    start = torch.randn(4, 3, dtype=torch.float64)
    weight = sample_weight(start, teacher, labels)  # a constant to the gradient, but not to a finite difference

    def loss(z: Tensor) -> Tensor:
        return weight * soft_label_loss(z, teacher, labels, 2.0) / sample_weight(z, teacher, labels)

    assert torch.autograd.gradcheck(loss, (start.requires_grad_(),))
