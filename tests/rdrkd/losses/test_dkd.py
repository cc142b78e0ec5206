import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from rdrkd.losses import build
from rdrkd.losses.dkd import non_target_loss, target_loss
from rdrkd.spec import Dkd
from tests.rdrkd.losses.contexts import WIDTHS, make_context


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def slow(student: list[float], teacher: list[float], label: int, temperature: float) -> tuple[float, float]:
    """KL of target against rest, KL of the rest among themselves."""
    p_s, p_t = softmax(student, temperature), softmax(teacher, temperature)
    target = p_t[label] * math.log(p_t[label] / p_s[label])
    target += (1 - p_t[label]) * math.log((1 - p_t[label]) / (1 - p_s[label]))
    others = [j for j in range(len(student)) if j != label]
    rest = 0.0
    for j in others:
        t, s = p_t[j] / (1 - p_t[label]), p_s[j] / (1 - p_s[label])
        rest += t * math.log(t / s)
    return target, rest


# --- numbers worked by hand ---


def test_by_hand() -> None:
    # softmax: teacher (1/2, 1/4, 1/4), student (1/4, 1/2, 1/4), label 0
    teacher = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
    student = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64).log()
    label = torch.tensor([0])
    target = math.log(2) / 2 + math.log((1 / 2) / (3 / 4)) / 2
    rest = math.log((1 / 2) / (2 / 3)) / 2 + math.log((1 / 2) / (1 / 3)) / 2
    assert target_loss(student, teacher, label).item() == pytest.approx(target)
    assert non_target_loss(student, teacher, label).item() == pytest.approx(rest)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 4.0, "beta": 8.0},
        {"alpha": 0.5, "constant_logit": True},
        {"temperature": 2.0, "anchor_weight": "assigned"},
    ],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Dkd(**options), make_context()
    branch = context.branches[0]
    t, s = branch.teacher.scores.tolist(), branch.student.scores.tolist()
    parts = [0.0, 0.0]
    total = 0.0
    for b, i in branch.foreground.nonzero().tolist():
        logits = [[scores[b][j][i] for j in range(3)] + [0.0] * term.constant_logit for scores in (s, t)]
        found = slow(logits[0], logits[1], int(branch.labels[b, i]), term.temperature)
        weight = branch.target_scores[b, i].sum().item() if term.anchor_weight == "assigned" else 1.0
        parts = [part + weight * value for part, value in zip(parts, found, strict=True)]
        total += weight
    scale = term.temperature**2 / total
    output = build(term, WIDTHS)(context)
    assert output.parts["target"].item() == pytest.approx(term.alpha * scale * parts[0], rel=1e-9)
    assert output.parts["non_target"].item() == pytest.approx(term.beta * scale * parts[1], rel=1e-9)


# --- invariants ---


def test_the_parts_make_up_the_ordinary_divergence() -> None:
    student, teacher = torch.randn(2, 30, 6, dtype=torch.float64).unbind(0)
    labels = torch.randint(6, (30,))
    whole = kl_div(student.log_softmax(1), teacher.softmax(1), reduction="none").sum(1)
    p_y = teacher.softmax(1).gather(1, labels[:, None]).squeeze(1)
    joined = target_loss(student, teacher, labels) + (1 - p_y) * non_target_loss(student, teacher, labels)
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-13)


def test_two_classes_have_no_rest_to_compare() -> None:
    student, teacher = torch.randn(2, 5, 2).unbind(0)
    assert non_target_loss(student, teacher, torch.zeros(5, dtype=torch.long)).abs().max() == 0


def test_one_class_alone_teaches_nothing_and_a_constant_logit_makes_it_a_sigmoid() -> None:
    context = make_context(nc=1)
    assert build(Dkd(), WIDTHS)(context).value.item() == 0
    student, teacher = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[-0.4]], dtype=torch.float64)
    zero, label = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])
    found = target_loss(torch.cat([student, zero], 1), torch.cat([teacher, zero], 1), label)
    p_s, p_t = (1 / (1 + math.exp(-z)) for z in (0.7, -0.4))
    expected = p_t * math.log(p_t / p_s) + (1 - p_t) * math.log((1 - p_t) / (1 - p_s))
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("extreme", [1e3, 1e4])
def test_finite_at_certainty(extreme: float) -> None:
    student = torch.tensor([[extreme, -extreme, 0.0], [-extreme, extreme, 0.0]], requires_grad=True)
    teacher = student.detach().flip(0)
    labels = torch.tensor([0, 2])
    loss = (target_loss(student, teacher, labels) + non_target_loss(student, teacher, labels)).sum()
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_gradcheck() -> None:
    teacher, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1])

    def loss(z: Tensor) -> Tensor:
        return target_loss(z, teacher, labels, 2.0).sum() + non_target_loss(z, teacher, labels, 2.0).sum()

    assert torch.autograd.gradcheck(loss, (torch.randn(4, 3, dtype=torch.float64, requires_grad=True),))
