import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rdrkd.boxes import eiou_loss
from rdrkd.losses import build
from rdrkd.losses.focal import class_loss, focal_loss, normalizer
from rdrkd.losses.responsive import anchor_weight, box_loss
from rdrkd.spec import Responsive
from tests.rdrkd.losses.contexts import COUNT, WIDTHS, make_context

# --- numbers worked by hand ---


def test_focal_loss_by_hand() -> None:
    student, teacher = torch.tensor([0.0, 2.0], dtype=torch.float64), torch.tensor([1.0, -1.0], dtype=torch.float64)
    assert focal_loss(student, teacher).tolist() == pytest.approx([0.1601576023, 0.9722662748], abs=1e-10)


def test_normalizers_by_hand() -> None:
    scores = torch.tensor([[[0.5, 0.0], [2.0, 0.25]], [[0.0, 0.0], [0.25, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    foreground = torch.tensor([[True, True], [False, True], [True, True]])
    assert normalizer("assigned", scores, foreground) == 3
    assert normalizer("positives", scores, foreground) == 5
    assert normalizer("image_sum", scores, foreground) == 3
    assert normalizer("batch_sum", scores, foreground) == 1
    for kind in ("assigned", "positives"):  # a batch without objects
        assert normalizer(kind, scores * 0, foreground & False) == 1  # type: ignore[arg-type]


def test_anchor_weights_by_hand() -> None:
    teacher, student = (
        torch.tensor([[[0.0, 9e9], [0.0, 0.0]]]),
        torch.tensor([[[-9e9, 9e9], [0.0, 9e9]]]),
    )  # p: 0, 1/2, 1
    assert anchor_weight(student, teacher, "bckd").tolist() == [[0.5, 0.5]]
    assert anchor_weight(student, teacher, "teacher_score").tolist() == [[0.5, 1.0]]
    assert anchor_weight(student, teacher, "none").tolist() == [[1.0, 1.0]]


def test_box_loss_by_hand() -> None:
    student = torch.tensor([[[10.0, 10, 30, 30], [0.0, 0, 10, 10]]])
    teacher = torch.tensor([[[15.0, 10, 40, 30], [20.0, 20, 30, 40]]])
    loss = box_loss(student, teacher, torch.tensor([[1.0, 2.0]]), 4.0)
    assert loss.item() == pytest.approx((0.5710470085 + 2 * 1.4725) / 4)
    assert box_loss(student, teacher, torch.tensor([[1.0, 2.0]]), 4.0, focal_eiou=True).item() == pytest.approx(
        0.5**0.5 * 0.5710470085 / 4, rel=1e-6
    )


# --- a slow reference that reads like the paper ---


def slow_focal(z_s: float, z_t: float, gamma: float) -> float:
    p_s, p_t = 1 / (1 + math.exp(-z_s)), 1 / (1 + math.exp(-z_t))
    return abs(p_t - p_s) ** gamma * -(p_t * math.log(p_s) + (1 - p_t) * math.log(1 - p_s))


logits = st.floats(-12, 12)


@settings(max_examples=100, deadline=None)
@given(logits, logits, st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]))
def test_focal_loss_agrees_with_the_formula(z_s: float, z_t: float, gamma: float) -> None:
    loss = focal_loss(torch.tensor(z_s, dtype=torch.float64), torch.tensor(z_t, dtype=torch.float64), gamma).item()
    assert loss == pytest.approx(slow_focal(z_s, z_t, gamma), rel=1e-6, abs=1e-9)
    assert loss >= 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gamma": 2.0, "class_weight": 0.5, "box_weight": 15.0, "normalizer": "positives"},
        {"normalizer": "image_sum", "loc_weight": "none", "box_weight": 1.0},
        {"normalizer": "batch_sum", "loc_weight": "teacher_score", "focal_eiou": True},
        {"gamma": 0.0, "loc_weight": "none"},
    ],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term = Responsive(**options)
    context = make_context()
    output = build(term, WIDTHS)(context)
    branch = context.branches[0]
    z_t, z_s = branch.teacher.scores.tolist(), branch.student.scores.tolist()
    norm = {
        "assigned": max(1.0, branch.target_scores.sum().item()),
        "positives": max(1, int(branch.foreground.sum())),
        "image_sum": 2,
        "batch_sum": 1,
    }[term.normalizer]
    of_classes = of_boxes = 0.0
    for b in range(2):
        for i in range(COUNT):
            p_t = [1 / (1 + math.exp(-z_t[b][j][i])) for j in range(3)]
            p_s = [1 / (1 + math.exp(-z_s[b][j][i])) for j in range(3)]
            of_classes += sum(slow_focal(z_s[b][j][i], z_t[b][j][i], term.gamma) for j in range(3))
            weight = {
                "bckd": max(abs(t - s) for t, s in zip(p_t, p_s, strict=True)),
                "teacher_score": max(p_t),
                "none": 1,
            }[term.loc_weight]
            pair = branch.teacher.boxes[b, i], branch.student.boxes[b, i]
            of_boxes += weight * eiou_loss(*pair, focal=term.focal_eiou).item()  # itself tested in test_boxes.py
    assert output.parts["class"].item() == pytest.approx(term.class_weight * of_classes / norm, rel=1e-9)
    assert output.parts["box"].item() == pytest.approx(term.box_weight * of_boxes / norm, rel=1e-9)


# --- invariants ---


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_zero_and_finite_at_equality(gamma: float) -> None:
    teacher = torch.linspace(-30, 30, 41)
    student = teacher.clone().requires_grad_()
    loss = focal_loss(student, teacher, gamma)
    loss.sum().backward()
    assert loss.detach().abs().max() < 1e-15
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_finite_at_certainty(gamma: float) -> None:
    certain = torch.tensor([-1e4, -200.0, -20.0, 0.0, 20.0, 200.0, 1e4])  # p = 0 and 1 in fp32
    student, teacher = torch.cartesian_prod(certain, certain).unbind(1)
    student = student.clone().requires_grad_()
    loss = focal_loss(student, teacher, gamma)
    loss.sum().backward()
    assert student.grad is not None
    assert loss.isfinite().all()
    assert student.grad.isfinite().all()


def test_the_paper_s_plain_sum_counts_every_anchor_once_per_image() -> None:
    context = make_context()
    paper = Responsive(class_weight=1, box_weight=1, normalizer="image_sum", loc_weight="none")
    whole = build(paper, WIDTHS)(context).value
    student, teacher = context.branches[0].student, context.branches[0].teacher
    expected = focal_loss(student.scores, teacher.scores).sum() + eiou_loss(student.boxes, teacher.boxes).sum()
    assert whole.item() == pytest.approx(expected.item() / 2)
    batch_sum = build(paper.model_copy(update={"normalizer": "batch_sum"}), WIDTHS)(context).value
    assert batch_sum.item() == pytest.approx(2 * whole.item())


def test_the_box_weight_carries_no_gradient() -> None:
    context = make_context()
    build(Responsive(class_weight=0), WIDTHS)(context).value.backward()
    assert context.branches[0].student.scores.grad is None or context.branches[0].student.scores.grad.abs().max() == 0
    assert context.branches[0].student.boxes.grad.abs().max() > 0


def test_one_class() -> None:
    context = make_context(nc=1)
    output = build(Responsive(), WIDTHS)(context)
    output.value.backward()
    assert output.value.item() > 0
    assert context.branches[0].student.scores.grad.abs().max() > 0


# --- gradcheck, away from the kinks at p_s = p_t and at equal corners ---


@pytest.mark.parametrize("gamma", [0.0, 1.0, 1.5, 2.0])
def test_gradcheck_of_the_class_loss_with_its_factor_attached(gamma: float) -> None:
    teacher = torch.tensor([[[1.0, -1.0, 0.3], [-4.0, 2.0, 5.0]]], dtype=torch.float64)
    student = torch.tensor([[[0.0, 2.0, -0.7], [-1.0, 0.5, -6.0]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: class_loss(z, teacher, 3.0, gamma), (student,))


def test_gradcheck_of_the_box_loss() -> None:
    context = make_context()
    weight = anchor_weight(context.branches[0].student.scores, context.branches[0].teacher.scores, "bckd")

    def loss(boxes: Tensor) -> Tensor:
        return box_loss(boxes, context.branches[0].teacher.boxes, weight, 5.0)

    assert torch.autograd.gradcheck(loss, (context.branches[0].student.boxes,))
