"""What holds for every term: its boundary to teacher and precision, the batch's symmetries, the spec's options."""

import copy
import math
import typing
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from rdrkd.errors import PairError
from rdrkd.losses import Context, LossTerm, Output, build, cwd, dkd, fgd, generation_block, nkd, pkd, wsld
from rdrkd.losses.decoupled import decoupled_loss
from rdrkd.losses.focal import class_loss
from rdrkd.losses.regenerated import regenerated_loss
from rdrkd.losses.responsive import box_loss
from rdrkd.spec import (
    PRESETS,
    TERMS,
    Amd,
    Bckd,
    ClassTerm,
    Crosskd,
    Cwd,
    Decoupled,
    Dkd,
    FeatureTerm,
    Fgd,
    Ld,
    Mgd,
    Nkd,
    Pkd,
    Preset,
    Regenerated,
    Responsive,
    Term,
    Ultralytics,
    Wsld,
)
from tests.rdrkd.losses.contexts import (
    BOX_IMAGE,
    BOXES,
    COUNT,
    WIDTHS,
    doubled,
    inside,
    make_context,
    mirrored,
    reordered,
    student_tensors,
    teacher_tensors,
    with_branch,
    without_objects,
)

LABELS = torch.tensor([0, 2])
BOTH = {"class", "box"}
NECK = {"P3", "P4", "P5"}
PARTS = {"responsive": BOTH, "bckd": BOTH, "crosskd": BOTH, "ultralytics": NECK, "ld": {"sides"},
         "dkd": {"target", "non_target"}, "cwd": NECK, "pkd": NECK, "mgd": NECK,
         "fgd": {"foreground", "background", "attention", "relation"}, "amd": NECK, "wsld": {"class"},
         "nkd": {"target", "non_target"}}  # fmt: skip
# Which tensors a term is given, not what it computes.
PICKED_OUTSIDE = {"name", "levels", "layers", "adapter", "split", "mapper"}
FITTING = {"cells": {"tau_area": 9}, "image": {"tau_area": 0.05}}  # an area that fits its unit

# Options whose value here is the default's: the plain sum at the start (test_regenerated.py), every level has
# foreground anchors (test_bckd.py), and the heads predict distributions (test_crosskd.py).
STARTS_ALIKE = {"fusion": "learned", "empty_levels": "skip", "box_loss": "kl"}


def options(model: type[Term]) -> list[Term]:  # type: ignore[valid-type]
    """One term for each other value of each choice in the spec."""
    terms = []
    for name, info in model.model_fields.items():
        values = (False, True) if info.annotation is bool else typing.get_args(info.annotation)
        if name not in PICKED_OUTSIDE:
            others = set(values) - {info.default}
            terms += [model(**{name: other}, **(FITTING[other] if name == "tau_area_unit" else {})) for other in others]
    return terms


def describe(term: Term) -> str:
    return "-".join([term.name, *(f"{key}={value}" for key, value in term.model_dump(exclude_defaults=True).items())])


OPTIONS = sorted((term for model in TERMS.values() for term in options(model)), key=describe)
DEFAULTS = [model() for model in TERMS.values()]
PAPER = [term for term in PRESETS[Preset.RDR_KD_PAPER].terms if term not in DEFAULTS]
every_default = pytest.mark.parametrize("term", DEFAULTS, ids=describe)
every_term = pytest.mark.parametrize("term", [*DEFAULTS, *PAPER, *OPTIONS], ids=describe)


def build_double(term: Term) -> LossTerm:
    torch.manual_seed(0)
    return build(term, WIDTHS).double()


def reached_by(term: Term, context: Context) -> list[Tensor]:
    """The student's tensors that a term's gradient must reach."""
    head = context.branches[0].student
    if isinstance(term, FeatureTerm):
        return [context.student[stride] for stride in term.levels]
    if isinstance(term, ClassTerm):
        return [head.scores]
    if isinstance(term, Crosskd):
        assert context.branches[0].cross is not None
        return inside(context.branches[0].cross.student)
    both = [head.scores, head.boxes]
    found = {"responsive": both, "bckd": both, "ld": [head.sides]}[term.name]
    return [x for x in found if x is not None]


def without_chance(term: Term) -> Term:
    """MGD draws a mask, whose cells depend on the batch's shape and on the device; here it hides nothing."""
    return term.model_copy(update={"mask_ratio": 0.0}) if isinstance(term, Mgd) else term


def one_sided(term: Term) -> bool:
    """FGD's official code widens objects to the right and to the bottom only."""
    return isinstance(term, Fgd) and term.object_cells == "official"


def value(term: Term, context: Context) -> float:
    return build_double(term)(context).value.item()


def test_every_choice_of_the_spec_is_among_the_options() -> None:
    assert len(OPTIONS) == 45
    assert {type(term) for term in OPTIONS} == {
        Regenerated, Decoupled, Responsive, Bckd, Crosskd, Ld, Dkd, Cwd, Fgd, Wsld, Nkd
    }  # fmt: skip


# --- what a term gives back ---


@every_term
def test_value_is_a_finite_scalar_its_parts_add_up_and_its_shares_are_shares(term: Term) -> None:
    output = build_double(term)(make_context())
    assert isinstance(output, Output)
    assert output.value.shape == ()
    assert output.value.item() > 0
    assert sum(part.item() for part in output.parts.values()) == pytest.approx(output.value.item())
    assert set(output.parts) == PARTS.get(term.name, {"P2", "P3", "P4", "P5"})
    assert all(x.requires_grad for x in output.parts.values())
    assert not any(x.requires_grad for x in output.shares.values())
    assert all(0 <= share <= 1 for share in output.shares.values())


@pytest.mark.parametrize("term", OPTIONS, ids=describe)
def test_every_option_changes_the_value(term: Term) -> None:
    default = value(type(term)(), make_context())
    if STARTS_ALIKE.items() & term.model_dump().items():
        assert value(term, make_context()) == default
    else:
        assert value(term, make_context()) != pytest.approx(default, rel=1e-9)


def test_levels_can_be_left_out() -> None:
    for model in (Regenerated, Decoupled):
        output = build_double(model(levels=(32, 8)))(make_context())
        assert list(output.parts) == ["P3", "P5"]


# --- the boundary ---


@every_term
def test_gradient_reaches_the_student_and_never_the_teacher(term: Term) -> None:
    context = make_context()
    loss = build_double(term)
    loss(context).value.backward()
    reached = [x for x in student_tensors(context) if x.grad is not None and x.grad.abs().max() > 0]
    assert {id(x) for x in reached} == {id(x) for x in reached_by(term, context)}
    assert all(x.grad.isfinite().all() for x in reached)
    assert all(x.grad is None for x in teacher_tensors(context))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.parameters())


def test_nothing_of_the_teacher_passes_the_boundary() -> None:
    context = make_context().at_boundary()
    assert not any(x.requires_grad for x in teacher_tensors(context))
    assert all(x.requires_grad for x in student_tensors(context))


def test_the_pure_functions_detach_the_teacher_themselves() -> None:
    context = make_context()
    teacher, student = context.teacher[8], context.student[8]
    everywhere = torch.ones(2, 8, 12, dtype=torch.bool)
    heads = context.branches[0].teacher, context.branches[0].student
    total = (
        regenerated_loss(teacher, student)
        + decoupled_loss(teacher, student, everywhere.double(), everywhere)
        + class_loss(heads[1].scores, heads[0].scores, 1.0)
        + box_loss(heads[1].boxes, heads[0].boxes, torch.ones(2, COUNT), 1.0)
    )
    total.backward()
    assert all(x.grad is None for x in teacher_tensors(context))
    assert all(x.grad is not None for x in (student, heads[1].scores, heads[1].boxes))


def test_the_comparators_pure_functions_detach_the_teacher_themselves() -> None:
    context = make_context()
    teacher, student = context.teacher[8], context.student[8]
    mask = torch.rand(2, 8, 12, dtype=torch.float64)
    given = *(head.scores[:, :, 0] for head in (context.branches[0].student, context.branches[0].teacher)), LABELS
    losses = [
        cwd.channel_loss(teacher, student),
        pkd.pearson_loss(teacher, student),
        generation_block.generative_loss(teacher, student),
        fgd.focal_loss(teacher, student, mask),
        fgd.attention_loss(teacher, student),
        dkd.target_loss(*given).sum() + dkd.non_target_loss(*given).sum(),
        nkd.target_loss(*given).sum() + nkd.non_target_loss(*given).sum(),
        wsld.soft_label_loss(*given).sum(),
    ]
    torch.stack(losses).sum().backward()
    assert all(loss.requires_grad for loss in losses)
    assert all(x.grad is None for x in teacher_tensors(context))


def in_half(context: Context) -> Context:
    def half(x: Tensor) -> Tensor:
        return x.detach().bfloat16()

    branch = context.branches[0]
    assert branch.cross is not None
    inner = branch.cross.student.mapped(lambda x: half(x).requires_grad_())
    return with_branch(
        replace(
            context,
            teacher={stride: half(x) for stride, x in context.teacher.items()},
            student={stride: half(x).requires_grad_() for stride, x in context.student.items()},
        ),
        teacher=branch.teacher.mapped(half),
        student=branch.student.mapped(half),
        target_scores=half(branch.target_scores),
        cross=replace(branch.cross, teacher=branch.cross.teacher.mapped(half), student=inner),
    )


@every_default
def test_half_precision_maps_are_computed_in_fp32_outside_autocast(term: Term) -> None:
    context = in_half(make_context(dtype=torch.float32))
    loss = build(without_chance(term), WIDTHS)
    expected = loss(context.at_boundary())
    with torch.autocast("cpu", torch.bfloat16):  # without `precision`: procreate modules in fp32, too
        output = loss(context)
    assert output.value.dtype == torch.float32
    assert torch.equal(output.value, expected.value)
    assert {name: part.dtype for name, part in output.parts.items()} == dict.fromkeys(output.parts, torch.float32)


@pytest.mark.parametrize("term", [Regenerated(), Mgd(mask_ratio=0.0), Amd()], ids=describe)
def test_procreate_modules_follow_mixed_precision_and_the_loss_does_not(term: Term) -> None:
    context = make_context(dtype=torch.float32)
    loss = build(term, WIDTHS)
    types: set[torch.dtype] = set()
    for module in loss.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, out: types.add(out.dtype))
    exact = loss(context).value.item()
    assert types == {torch.float32}
    types.clear()
    mixed = loss(replace(context, precision=torch.bfloat16)).value
    assert types == {torch.bfloat16}
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(exact, rel=2e-2)


def test_maps_whose_squares_overflow_fp16_stay_finite() -> None:
    context = make_context(dtype=torch.float32)
    for x in (*context.teacher.values(), *context.student.values()):
        x.data.mul_(200)
    halves = replace(
        context,
        teacher={stride: x.half() for stride, x in context.teacher.items()},
        student={stride: x.half() for stride, x in context.student.items()},
    )
    for term in DEFAULTS:
        assert build(term, WIDTHS)(halves).value.isfinite()


@every_term
def test_a_batch_without_objects_is_finite_and_keeps_its_graph(term: Term) -> None:
    context = without_objects(make_context())
    loss = build_double(term)
    output = loss(context)
    output.value.backward()
    assert output.value.isfinite()
    grads = [x.grad for x in student_tensors(context) if x.grad is not None] + [p.grad for p in loss.parameters()]
    assert len(grads) >= len(reached_by(term, context))
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@every_default
def test_foreground_alone_keeps_its_graph_without_objects(term: Term) -> None:
    if isinstance(term, Decoupled):
        term = term.model_copy(update={"beta": 0.0})
    context = without_objects(make_context())
    build_double(term)(context).value.backward()
    tensors = reached_by(term, context)
    assert all(x.grad is not None and x.grad.isfinite().all() for x in tensors)


# --- symmetries ---


@every_term
def test_doubling_the_batch_leaves_the_mean_over_images(term: Term) -> None:
    term, context = without_chance(term), make_context()
    factor = 2 if term.name == "responsive" and term.normalizer == "batch_sum" else 1
    # degrees of freedom: PKD's exact factor is in test_pkd.py, CrossKD's stand beside its eps
    tolerance = 0.05 if isinstance(term, Pkd) else 1e-4 if isinstance(term, Crosskd) else None
    assert value(term, doubled(context)) == pytest.approx(factor * value(term, context), rel=tolerance)


@every_term
def test_one_image_alone(term: Term) -> None:
    context = make_context(BOXES[BOX_IMAGE == 0], BOX_IMAGE[BOX_IMAGE == 0], batch=1)
    loss = build_double(term)
    output = loss(context)
    output.value.backward()
    assert output.value.item() > 0
    assert math.isfinite(output.value.item())


@every_term
def test_the_order_of_the_ground_truth_does_not_matter(term: Term) -> None:
    assert value(term, reordered(make_context())) == pytest.approx(value(term, make_context()))


@pytest.mark.parametrize("term", [term for term in (*DEFAULTS, *PAPER, *OPTIONS) if not one_sided(term)], ids=describe)
def test_flipping_images_and_boxes_changes_nothing(term: Term) -> None:
    loss = build_double(without_chance(term))
    with torch.no_grad():  # a procreate module commutes with the flip once its kernels are symmetric
        for module in loss.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_((module.weight + module.weight.flip(3)) / 2)
    context = make_context()
    assert loss(mirrored(context)).value.item() == pytest.approx(loss(context).value.item())


def test_zero_at_equality() -> None:
    context = make_context()
    context.student.update(context.teacher)
    context = with_branch(context, student=context.branches[0].teacher)
    for term in (Decoupled(), Responsive(), Bckd(), Ultralytics(), Ld(), Dkd(), Cwd(), Pkd(), Fgd()):
        assert build_double(term)(context).value.item() == pytest.approx(0, abs=1e-6)


# --- what the distiller and Ultralytics do with a term ---


@pytest.mark.parametrize("term", [Regenerated(fusion="learned"), Mgd(mask_ratio=0.0), Fgd(), Amd()], ids=describe)
def test_terms_copy_and_resume(term: Term) -> None:
    loss, context = build_double(term), make_context()
    with torch.no_grad():
        for parameter in loss.parameters():  # as after some steps: FGD's blocks start as the identity
            parameter.add_(0.1 * torch.rand_like(parameter))
    twin = copy.deepcopy(loss)
    fresh = build(term, WIDTHS).double()
    assert fresh(context).value.item() != loss(context).value.item()
    fresh.load_state_dict(loss.state_dict())
    assert fresh(context).value.item() == twin(context).value.item() == loss(context).value.item()


def test_terms_that_learn_nothing_have_no_state() -> None:
    assert [build(term, WIDTHS).state_dict() for term in (Decoupled(), Responsive(), Cwd(), Pkd())] == [{}] * 4


@every_default
def test_terms_run_under_deterministic_algorithms(term: Term) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        assert value(term, make_context()) == value(term, make_context())
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
@every_term
def test_cuda_agrees_with_the_cpu(term: Term) -> None:
    context = make_context(dtype=torch.float32)

    def moved(x: Tensor) -> Tensor:
        return x.detach().cuda().requires_grad_(x.requires_grad)

    branch = context.branches[0]
    assert branch.cross is not None
    cross = replace(
        branch.cross, teacher=branch.cross.teacher.mapped(moved), student=branch.cross.student.mapped(moved)
    )
    on_cuda = with_branch(
        replace(
            context,
            teacher={stride: moved(x) for stride, x in context.teacher.items()},
            student={stride: moved(x) for stride, x in context.student.items()},
            boxes=moved(context.boxes),
            box_image=context.box_image.cuda(),
        ),
        teacher=branch.teacher.mapped(moved),
        student=branch.student.mapped(moved),
        labels=branch.labels.cuda(),
        target_scores=moved(branch.target_scores),
        foreground=branch.foreground.cuda(),
        cross=cross,
    )
    loss = build(without_chance(term), WIDTHS)
    expected = loss(context).value
    expected.backward()
    output = loss.cuda()(on_cuda).value
    output.backward()
    assert output.item() == pytest.approx(expected.item(), rel=1e-3)
    for x, y in zip(student_tensors(context), student_tensors(on_cuda), strict=True):
        if x.grad is not None:
            assert torch.allclose(y.grad.cpu(), x.grad, rtol=2e-2, atol=1e-3 * x.grad.abs().max().item())


# --- errors ---


def test_a_level_the_teacher_lacks_is_refused_when_built() -> None:
    with pytest.raises(PairError, match=r"decoupled: expected levels among the strides \[8, 16, 32\], got also \[4\]"):
        build(Decoupled(), {8: 4, 16: 4, 32: 4})


def test_a_map_that_is_missing_or_of_another_size_is_refused() -> None:
    context = make_context()
    smaller = context.student[8][:, :, :1, :1]  # would broadcast
    with pytest.raises(PairError, match=r"maps of stride 8 of one shape, got \(2, 4, 8, 12\) from the teacher"):
        build_double(Decoupled())(replace(context, student={**context.student, 8: smaller}))
    with pytest.raises(PairError, match=r"expected maps of stride 4, got the teacher's of \[8\]"):
        build_double(Decoupled())(replace(context, teacher={8: context.teacher[8]}))


def test_heads_with_other_classes_or_anchors_are_refused() -> None:
    context, one_class = make_context(), make_context(nc=1)
    student = context.branches[0].student
    with pytest.raises(PairError, match=r"class logits of one shape, got \(2, 3, 126\) .* and \(2, 1, 126\)"):
        build_double(Responsive())(with_branch(context, student=one_class.branches[0].student))
    with pytest.raises(PairError, match="boxes of one shape"):
        build_double(Responsive())(with_branch(context, student=replace(student, boxes=student.boxes[:, :1])))
    for sides, message in ((None, "one with reg_max 1"), (student.sides[..., :2], "side logits of one shape")):
        with pytest.raises(PairError, match=message):
            build_double(Ld())(with_branch(context, student=replace(student, sides=sides)))
