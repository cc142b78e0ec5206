import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rdrkd.losses import Context, build
from rdrkd.losses.bckd import on_assigned_levels
from rdrkd.losses.focal import box_loss, class_loss, disagreement
from rdrkd.spec import Bckd, Responsive
from tests.rdrkd.losses.contexts import ANCHORS, COUNT, WIDTHS, make_context, with_branch

# --- numbers worked by hand ---


def test_class_loss_by_hand() -> None:
    # p_s = 1/2, p_t = 1/4: |1/4| x -(1/4 ln 1/2 + 3/4 ln 1/2) = ln 2 / 4; and at equality nothing
    teacher = torch.tensor([[[-math.log(3.0), 0.0]]], dtype=torch.float64)
    student = torch.zeros_like(teacher)
    assert class_loss(student, teacher, 2.0).item() == pytest.approx(math.log(2) / 4 / 2)
    assert class_loss(student, teacher, 2.0, gamma=2.0).item() == pytest.approx(math.log(2) / 16 / 2)


def test_box_loss_by_hand() -> None:
    teacher = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 2, 2]]], dtype=torch.float64)
    student = torch.tensor([[[20.0, 20, 30, 40], [1, 0, 3, 2]]], dtype=torch.float64)
    losses = 1 + (1200 - 300) / 1200, 1 - 2 / 6
    weight = torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    assert box_loss(student, teacher, weight, 4.0).item() == pytest.approx((losses[0] / 2 + losses[1] / 4) / 4)


def test_disagreement_by_hand() -> None:
    teacher, student = torch.tensor([[[0.0, 9e9], [0.0, 0.0]]]), torch.tensor([[[-9e9, 9e9], [0.0, 9e9]]])  # 0, 1/2, 1
    assert disagreement(student, teacher).tolist() == [[0.5, 0.5]]


def test_levels_with_a_foreground_anchor_by_hand() -> None:
    foreground = torch.tensor([[False, True, False, False], [False, False, False, False]])
    marked = on_assigned_levels(foreground, {8: slice(0, 2), 16: slice(2, 4)})
    assert marked.tolist() == [True, True, False, False]


# --- a slow reference that reads like the formula ---


def slow_giou(a: list[float], b: list[float]) -> float:
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inter / union - (hull - union) / hull


def empty(context: Context, stride: int) -> Context:
    """The same batch with no foreground anchor on one level."""
    foreground = context.branches[0].foreground.clone()
    foreground[:, ANCHORS[stride]] = False
    return with_branch(context, foreground=foreground)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gamma": 2.0, "class_weight": 0.5, "box_weight": 15.0, "normalizer": "assigned"},
        {"gamma": 0.0, "empty_levels": "skip"},
    ],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Bckd(**options), empty(make_context(), 16)
    branch = context.branches[0]
    z_t, z_s = branch.teacher.scores.tolist(), branch.student.scores.tolist()
    b_t, b_s = branch.teacher.boxes.tolist(), branch.student.boxes.tolist()
    norm = branch.target_scores.sum().item() if term.normalizer == "assigned" else int(branch.foreground.sum())
    left_out = range(96, 120) if term.empty_levels == "skip" else range(0)
    of_classes = of_boxes = 0.0
    for b in range(2):
        for i in range(COUNT):
            if i in left_out:
                continue
            gaps = []
            for j in range(3):
                p_t, p_s = 1 / (1 + math.exp(-z_t[b][j][i])), 1 / (1 + math.exp(-z_s[b][j][i]))
                gaps.append(abs(p_t - p_s))
                of_classes += gaps[j] ** term.gamma * -(p_t * math.log(p_s) + (1 - p_t) * math.log(1 - p_s))
            of_boxes += max(gaps) * (1 - slow_giou(b_t[b][i], b_s[b][i]))
    output = build(term, WIDTHS)(context)
    assert output.parts["class"].item() == pytest.approx(term.class_weight * of_classes / norm, rel=1e-9)
    assert output.parts["box"].item() == pytest.approx(term.box_weight * of_boxes / norm, rel=1e-9)


# --- invariants ---


def test_its_class_part_is_the_responsive_term_s() -> None:
    context = make_context()
    ours = build(Bckd(normalizer="assigned"), WIDTHS)(context).parts["class"].item()
    assert ours == pytest.approx(build(Responsive(), WIDTHS)(context).parts["class"].item())


def test_levels_are_left_out_only_where_they_are_empty() -> None:
    context = make_context()
    skip, compare = (build(Bckd(empty_levels=kind), WIDTHS) for kind in ("skip", "compare"))
    assert skip(context).value.item() == pytest.approx(compare(context).value.item())
    context = empty(context, 8)
    skip(context).value.backward()
    gradient = context.branches[0].student.scores.grad
    assert gradient is not None
    assert gradient[:, :, ANCHORS[8]].abs().max() == 0
    assert gradient[:, :, ANCHORS[16]].abs().max() > 0


def test_the_weight_of_a_box_carries_no_gradient() -> None:
    context = make_context()
    build(Bckd(class_weight=0), WIDTHS)(context).value.backward()
    student = context.branches[0].student
    assert student.scores.grad is None or student.scores.grad.abs().max() == 0
    assert student.boxes.grad.abs().max() > 0


def test_equal_scores_leave_the_boxes_alone() -> None:
    context = make_context()
    branch = context.branches[0]
    same = replace(branch.student, scores=branch.teacher.scores)
    assert build(Bckd(), WIDTHS)(with_branch(context, student=same)).value.item() == pytest.approx(0, abs=1e-300)


def test_one_class() -> None:
    context = make_context(nc=1)
    build(Bckd(), WIDTHS)(context).value.backward()
    assert context.branches[0].student.scores.grad.abs().max() > 0


# --- gradcheck, away from the kinks at p_s = p_t and at equal corners ---


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_gradcheck_of_the_class_loss(gamma: float) -> None:
    teacher = torch.tensor([[[1.0, -1.0, 0.3], [-4.0, 2.0, 5.0]]], dtype=torch.float64)
    student = torch.tensor([[[0.0, 2.0, -0.7], [-1.0, 0.5, -6.0]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: class_loss(z, teacher, 3.0, gamma), (student,))


def test_gradcheck_of_the_box_loss() -> None:
    branch = make_context().branches[0]
    weight = disagreement(branch.student.scores, branch.teacher.scores)

    def loss(boxes: Tensor) -> Tensor:
        return box_loss(boxes, branch.teacher.boxes, weight, 5.0)

    assert torch.autograd.gradcheck(loss, (branch.student.boxes,))
