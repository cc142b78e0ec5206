import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rdrkd.errors import PairError
from rdrkd.losses import Context, Cross, Hidden, build
from rdrkd.losses.crosskd import align_scale, distribution_loss
from rdrkd.losses.focal import box_loss, class_loss
from rdrkd.spec import Crosskd
from tests.rdrkd.losses.contexts import COUNT, WIDTHS, inside, make_context, with_branch


def cross_of(context: Context) -> Cross:
    cross = context.branches[0].cross
    assert cross is not None
    return cross


def with_cross(context: Context, **changes: object) -> Context:
    return with_branch(context, cross=replace(cross_of(context), **changes))  # type: ignore[arg-type]


# --- numbers worked by hand ---


def test_alignment_by_hand() -> None:
    # student 1, 3 (mean 2, deviation sqrt 2), teacher 0, 4 (mean 2, deviation sqrt 8); constant: the teacher's mean
    student = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]], dtype=torch.float64)
    teacher = torch.tensor([[[[0.0, 4.0]], [[1.0, 3.0]]]], dtype=torch.float64)
    assert align_scale(teacher, student, 0.0)[:, :1].flatten().tolist() == pytest.approx([0.0, 4.0])
    with_eps = align_scale(teacher, student, math.sqrt(2))
    assert with_eps.flatten().tolist() == pytest.approx([1.0, 3.0, 2.0, 2.0])


def test_class_loss_by_hand() -> None:
    # p' = 1/2, p_t = 1/4: |1/4| x -(1/4 ln 1/2 + 3/4 ln 1/2) = ln 2 / 4
    teacher = torch.full((1, 1, 1), -math.log(3.0), dtype=torch.float64)
    assert class_loss(torch.zeros_like(teacher), teacher, 2.0).item() == pytest.approx(math.log(2) / 8)


def test_distribution_loss_by_hand() -> None:
    # softmax(0, ln 3) = (1/4, 3/4) against (1/2, 1/2) on one of four sides, weight 1/2, over 2
    teacher = torch.zeros(1, 1, 4, 2, dtype=torch.float64)
    teacher[0, 0, 0, 1] = math.log(3)
    crossed = torch.zeros_like(teacher)
    divergence = math.log(0.5) / 4 + 3 * math.log(1.5) / 4
    weight = torch.full((1, 1), 0.5, dtype=torch.float64)
    assert distribution_loss(crossed, teacher, weight, 2.0).item() == pytest.approx(divergence / 4 / 2 / 2)
    assert distribution_loss(2 * crossed, 2 * teacher, weight, 2.0, 2.0).item() == pytest.approx(divergence / 4)


def test_box_loss_by_hand() -> None:
    teacher, crossed = torch.tensor([[[0.0, 0, 2, 2]]]), torch.tensor([[[1.0, 0, 3, 2]]])
    assert box_loss(crossed, teacher, torch.tensor([[0.5]]), 4.0).item() == pytest.approx(2 / 3 / 2 / 4)


# --- a slow reference that reads like the formulas ---


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def slow_aligned(student: Tensor, teacher: Tensor, eps: float) -> Tensor:
    """Channel by channel over [image, cell]."""
    found = torch.empty_like(student)
    for c in range(student.shape[1]):
        s, t = student[:, c].flatten().tolist(), teacher[:, c].flatten().tolist()
        m_s, m_t = sum(s) / len(s), sum(t) / len(t)
        d_s = math.sqrt(sum((x - m_s) ** 2 for x in s) / (len(s) - 1))
        d_t = math.sqrt(sum((x - m_t) ** 2 for x in t) / (len(t) - 1))
        found[:, c] = student.new_tensor([(x - m_s) / (d_s + eps) * d_t + m_t for x in s]).view_as(found[:, c])
    return found


def slow_giou(a: list[float], b: list[float]) -> float:
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inter / union - (hull - union) / hull


def slow_divergence(teacher: list[float], student: list[float], temperature: float) -> float:
    e_t, e_s = ([math.exp(z / temperature) for z in side] for side in (teacher, student))
    return sum(t / sum(e_t) * math.log(t / sum(e_t) / (s / sum(e_s))) for t, s in zip(e_t, e_s, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gamma": 2.0, "class_weight": 0.5, "kl_weight": 2.0, "temperature": 3.0, "normalizer": "assigned"},
        {"box_loss": "giou", "giou_weight": 0.75, "align_scale": False},
        {"box_loss": "giou", "eps": 0.5},
    ],
)
@torch.no_grad()
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Crosskd(**options), make_context()
    branch, cross = context.branches[0], cross_of(context)
    student = cross.student
    if term.align_scale:
        student = Hidden(
            {r: slow_aligned(x, cross.teacher.boxes[r], term.eps) for r, x in cross.student.boxes.items()},
            {r: slow_aligned(x, cross.teacher.scores[r], term.eps) for r, x in cross.student.scores.items()},
        )
    crossed = cross.rest(student)
    assert crossed.sides is not None
    assert branch.teacher.sides is not None
    z_t, z_s = branch.teacher.scores.tolist(), crossed.scores.tolist()
    d_t, d_s = branch.teacher.sides.tolist(), crossed.sides.tolist()
    b_t, b_s = branch.teacher.boxes.tolist(), crossed.boxes.tolist()
    norm = branch.target_scores.sum().item() if term.normalizer == "assigned" else int(branch.foreground.sum())
    of_classes = of_sides = of_boxes = weights = 0.0
    for b in range(2):
        for i in range(COUNT):
            p_t, p_s = ([sigmoid(z[b][j][i]) for j in range(3)] for z in (z_t, z_s))
            of_classes += sum(
                abs(t - s) ** term.gamma * -(t * math.log(s) + (1 - t) * math.log(1 - s))
                for t, s in zip(p_t, p_s, strict=True)
            )
            sides = [slow_divergence(d_t[b][i][k], d_s[b][i][k], term.temperature) for k in range(4)]
            of_sides += max(p_t) * sum(sides)
            of_boxes += max(p_t) * (1 - slow_giou(b_t[b][i], b_s[b][i]))
            weights += max(p_t)
    of_sides *= term.temperature**2 / (4 * weights)
    box = term.giou_weight * of_boxes / norm if term.box_loss == "giou" else term.kl_weight * of_sides
    output = build(term, WIDTHS)(context)
    assert output.parts["class"].item() == pytest.approx(term.class_weight * of_classes / norm, rel=1e-9)
    assert output.parts["box"].item() == pytest.approx(box, rel=1e-9)


# --- invariants ---


def a_teacher_that_is_its_own_rest(context: Context) -> Context:
    """The teacher's predictions are what its rest makes of its own maps, as they are in a network."""
    cross = cross_of(context)
    return with_branch(context, teacher=cross.rest(cross.teacher))


@pytest.mark.parametrize("options", [{"align_scale": False}, {"align_scale": False, "box_loss": "giou"}, {"eps": 1e-9}])
def test_zero_where_the_student_s_maps_are_the_teacher_s(options: dict[str, object]) -> None:
    context = a_teacher_that_is_its_own_rest(make_context())
    same = with_cross(context, student=cross_of(context).teacher)
    assert build(Crosskd(**options), WIDTHS)(same).value.item() == pytest.approx(0, abs=1e-8)
    assert build(Crosskd(**options), WIDTHS)(context).value.item() > 0.1


def test_aligned_maps_forget_scale_and_shift_of_a_channel() -> None:
    context = make_context()

    def changed(x: Tensor) -> Tensor:
        return torch.linspace(0.5, 3, x.shape[1], dtype=torch.float64)[:, None, None] * x - 7

    moved = with_cross(context, student=cross_of(context).student.mapped(changed))
    before, after = (build(Crosskd(), WIDTHS)(x).value.item() for x in (context, moved))
    assert after == pytest.approx(before, rel=1e-3)
    unaligned = [build(Crosskd(align_scale=False), WIDTHS)(x).value.item() for x in (context, moved)]
    assert unaligned[1] != pytest.approx(unaligned[0], rel=1e-2)


def test_aligned_maps_have_the_teacher_s_mean_and_deviation() -> None:
    teacher, student = 5 + 3 * torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5) - 1
    aligned = align_scale(teacher, student, 0.0)
    for figure in (torch.mean, torch.std):
        torch.testing.assert_close(figure(aligned, (0, 2, 3)), figure(teacher, (0, 2, 3)))  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 2, 3, 3)])
def test_constant_channels_and_a_single_cell_stay_finite(shape: tuple[int, ...]) -> None:
    student = torch.full(shape, 3.0, requires_grad=True)
    teacher = torch.randn(shape)
    aligned = align_scale(teacher, student)
    (aligned * torch.randn(shape)).sum().backward()
    torch.testing.assert_close(aligned.mean((0, 2, 3)), teacher.mean((0, 2, 3)))
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e6


def test_the_student_s_own_predictions_do_not_matter() -> None:
    context = make_context()
    branch = context.branches[0]
    other = with_branch(context, student=branch.student.mapped(torch.zeros_like))
    assert build(Crosskd(), WIDTHS)(other).value.item() == build(Crosskd(), WIDTHS)(context).value.item()


def test_a_teacher_without_distributions_is_compared_by_boxes() -> None:
    context = make_context()
    branch = context.branches[0]
    plain = with_branch(context, teacher=replace(branch.teacher, sides=None))
    expected = build(Crosskd(box_loss="giou"), WIDTHS)(context).value.item()
    assert build(Crosskd(), WIDTHS)(plain).value.item() == expected
    with pytest.raises(PairError, match="one with reg_max 1"):
        build(Crosskd(box_loss="kl"), WIDTHS)(plain)


def test_a_teacher_that_sees_nothing_teaches_no_boxes() -> None:
    context = make_context()
    branch = context.branches[0]
    blind = with_branch(context, teacher=replace(branch.teacher, scores=branch.teacher.scores - 40))
    for kind in ("kl", "giou"):
        assert build(Crosskd(box_loss=kind), WIDTHS)(blind).parts["box"].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("box_loss", ["kl", "giou"])
def test_gradient_passes_the_rest_and_stays_out_of_it(box_loss: str) -> None:
    context = make_context()
    cross = cross_of(context)
    frozen = torch.randn(COUNT, dtype=torch.float64)  # a weight of the rest that asks for no gradient
    context = with_cross(context, rest=lambda hidden: cross.rest(hidden).mapped(lambda x: x + 0 * frozen.sum()))
    build(Crosskd(box_loss=box_loss), WIDTHS)(context).value.backward()
    assert frozen.grad is None
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in inside(cross.student))
    assert all(x.grad is None for x in inside(cross.teacher))


def test_heads_that_were_run_whole_or_differ_are_refused() -> None:
    context = make_context()
    with pytest.raises(PairError, match="heads that were run as a whole"):
        build(Crosskd(), WIDTHS)(with_branch(context, cross=None))
    narrow = cross_of(context).student.mapped(lambda x: x[:, :1])
    with pytest.raises(PairError, match=r"head maps of stride 8 of one shape, got \(2, 3, 8, 12\) .* \(2, 1, 8, 12\)"):
        build(Crosskd(), WIDTHS)(with_cross(context, student=narrow))
    fewer = replace(cross_of(context).student, boxes={})
    with pytest.raises(PairError, match=r"head maps of the strides \[8, 16, 32\], got \[\]"):
        build(Crosskd(), WIDTHS)(with_cross(context, student=fewer))


# --- gradcheck ---


def test_gradcheck_of_the_alignment() -> None:
    teacher = torch.randn(2, 3, 2, 3, dtype=torch.float64)
    student = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: align_scale(teacher, x, 0.01), (student,))


def test_gradcheck_of_the_losses() -> None:
    teacher = torch.tensor([[[1.0, -1.0, 0.3], [-4.0, 2.0, 5.0]]], dtype=torch.float64)
    crossed = torch.tensor([[[0.0, 2.0, -0.7], [-1.0, 0.5, -6.0]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: class_loss(z, teacher, 3.0), (crossed,))
    branch = make_context().branches[0]
    weight = branch.teacher.scores.sigmoid().amax(1)
    sides, boxes = branch.student.sides, branch.student.boxes
    assert sides is not None
    assert branch.teacher.sides is not None
    d_t, b_t = branch.teacher.sides[:, :4].detach(), branch.teacher.boxes[:, :9]
    few = sides.detach()[:, :4].requires_grad_()
    assert torch.autograd.gradcheck(lambda d: distribution_loss(d, d_t, weight[:, :4], 2.0, 3.0), (few,))
    some = boxes.detach()[:, :9].requires_grad_()
    assert torch.autograd.gradcheck(lambda b: box_loss(b, b_t, weight[:, :9], 2.0), (some,))
