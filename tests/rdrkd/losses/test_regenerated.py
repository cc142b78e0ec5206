import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from rdrkd.boxes import rasterise, visibility
from rdrkd.losses import build
from rdrkd.losses.attention import channel_attention, spatial_attention
from rdrkd.losses.channels import deviation
from rdrkd.losses.generation_block import Form, generation_block
from rdrkd.losses.regenerated import (
    ProcreateModules,
    RegeneratedTerm,
    cell_weight,
    channel_mask,
    regenerated_loss,
    spatial_mask,
    tiny_objects,
)
from rdrkd.spec import Regenerated
from tests.rdrkd.losses.contexts import BOX_IMAGE, BOXES, IMGSZ, WIDTHS, make_context
from tests.rdrkd.losses.slow import slow_block, slow_deviation

GOLDEN = torch.tensor([[[[1.0, 3.0]], [[-1.0, 0.0]]]], dtype=torch.float64)  # B=1, C=2, 1 x 2 cells
FORMS = get_args(Form)
NOTHING_TINY = torch.zeros(1, 1, 1, 2, dtype=torch.bool)


# --- numbers worked by hand ---


def test_spatial_attention_by_hand() -> None:
    assert spatial_attention(GOLDEN, 0.5).flatten().tolist() == pytest.approx([0.5378828427, 1.4621171573], abs=1e-10)


def test_channel_attention_by_hand() -> None:
    assert channel_attention(GOLDEN, 0.5).flatten().tolist() == pytest.approx([1.9051482536, 0.0948517464], abs=1e-10)


def test_masks_by_hand() -> None:
    attention = spatial_attention(GOLDEN, 0.5)
    assert spatial_mask(attention, NOTHING_TINY, 1.0).flatten().tolist() == [1, 0]
    assert spatial_mask(attention, torch.tensor([[[[True, False]]]]), 1.0).flatten().tolist() == [0, 0]
    assert channel_mask(channel_attention(GOLDEN, 0.5), 1.0).flatten().tolist() == [0, 1]


def test_a_threshold_that_is_met_does_not_hide() -> None:
    even = torch.ones(1, 2, 1, 2)  # every attention is exactly 1
    assert spatial_mask(spatial_attention(even, 0.5), NOTHING_TINY, 1.0).min() == 1
    assert channel_mask(channel_attention(even, 0.5), 1.0).min() == 1


def test_tiny_objects_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [8.0, 0, 24, 16]])
    regions = rasterise(boxes, torch.tensor([0, 0]), 8, (1, 2, 3))
    tiny = tiny_objects(torch.tensor([16.0, 256.0]), regions, 256.0)
    assert tiny.int().tolist() == [[[[1, 0, 0], [0, 0, 0]]]]


def test_loss_by_hand() -> None:
    teacher, rebuilt = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]]), torch.tensor([[[[0.0, 4.0]]], [[[3.0, 0.0]]]])
    assert regenerated_loss(teacher, rebuilt).item() == (1 + 4 + 9) / 2  # images add 5 and 9
    assert regenerated_loss(teacher, rebuilt, "mean").item() == (1 + 4 + 9) / 4


def test_rebuilding_by_hand() -> None:
    """With convolutions that copy, Eq. 5 adds the map without its key cell to the map without its key channel."""
    modules = ProcreateModules(2, 1, "sum").double()
    for block in (modules.spatial, modules.channel):
        for layer in (block[0], block[2]):
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)
    student = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], dtype=torch.float64)
    mask_s = spatial_mask(spatial_attention(GOLDEN, 0.5), NOTHING_TINY, 1.0)
    mask_c = channel_mask(channel_attention(GOLDEN, 0.5), 1.0)
    assert modules(student, mask_s, mask_c).tolist() == [[[[1 + 0, 0 + 0]], [[3 + 3, 0 + 4]]]]


# --- a slow reference that reads like the paper ---


def slow_loss(
    teacher: Tensor,
    student: Tensor,
    objects: list[list[float]],
    stride: int,
    term: Regenerated,
    modules: ProcreateModules,
    scale: list[float],
) -> float:
    """L_mask of one image and level."""
    t, s = teacher.tolist(), student.tolist()
    channels, height, width = teacher.shape
    cells = [(i, j) for i in range(height) for j in range(width)]
    temperature = term.temperature

    e_s = {(i, j): math.exp(sum(abs(t[k][i][j]) for k in range(channels)) / (temperature * channels)) for i, j in cells}
    e_c = [math.exp(sum(abs(t[k][i][j]) for i, j in cells) / (temperature * height * width)) for k in range(channels)]
    m_s = {}
    for i, j in cells:
        attention = height * width * e_s[i, j] / sum(e_s.values())
        in_tiny = any(
            x1 < (j + 1) * stride and x2 > j * stride and y1 < (i + 1) * stride and y2 > i * stride
            for x1, y1, x2, y2 in objects
            if slow_area([x1, y1, x2, y2], stride, term.tau_area_unit) < term.tau_area
        )
        m_s[i, j] = 0 if attention > term.tau_s or in_tiny else 1
    m_c = [0 if channels * e_c[k] / sum(e_c) > term.tau_c else 1 for k in range(channels)]

    weight = dict.fromkeys(cells, 1.0)
    for i, j in cells if term.by_visibility else ():
        weight[i, j] = max(
            [
                min(1.0, (x2 - x1) * (y2 - y1) / stride**2)
                for x1, y1, x2, y2 in objects
                if x1 < (j + 1) * stride and x2 > j * stride and y1 < (i + 1) * stride and y2 > i * stride
            ],
            default=1.0,
        )
    by_cell = slow_block(
        [[[s[k][i][j] * m_s[i, j] for j in range(width)] for i in range(height)] for k in range(channels)],
        modules.spatial,
    )
    by_channel = slow_block(
        [[[s[k][i][j] * m_c[k] for j in range(width)] for i in range(height)] for k in range(channels)], modules.channel
    )
    u, v = modules.fusion.tolist() if modules.fusion is not None else (1, 1)
    total = sum(
        weight[i, j] * ((t[k][i][j] - u * by_cell[k][i][j] - v * by_channel[k][i][j]) / scale[k]) ** 2
        for k in range(channels)
        for i, j in cells
    )
    return total if term.reduction == "sum" else total / (channels * height * width)


def slow_area(box: list[float], stride: int, unit: str) -> float:
    x1, y1, x2, y2 = box
    if unit == "cells":
        return (math.ceil(x2 / stride) - math.floor(x1 / stride)) * (math.ceil(y2 / stride) - math.floor(y1 / stride))
    return (x2 - x1) * (y2 - y1) / (IMGSZ[0] * IMGSZ[1] if unit == "image" else 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.0, "tau_s": 0.9, "tau_c": 1.1},
        {"tau_area_unit": "cells", "tau_area": 9},
        {"tau_area_unit": "image", "tau_area": 0.08},
        {"reduction": "mean", "channel_kernel": 3, "fusion": "learned"},
        {"generation": "bottleneck", "by_visibility": True},
        {"standardize": True, "tau_s": 0.9},
    ],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term = Regenerated(levels=(16, 32), **options)
    context = make_context()
    loss = build(term, WIDTHS).double()
    if term.fusion == "learned":
        with torch.no_grad():
            for modules in loss.module.procreate.values():
                modules.fusion.copy_(torch.tensor([0.7, 1.6]))
    output = loss(context)
    clipped = [[max(0.0, x1), max(0.0, y1), min(96.0, x2), min(64.0, y2)] for x1, y1, x2, y2 in BOXES.tolist()]
    for stride, name in ((16, "P4"), (32, "P5")):
        expected, scale = 0.0, slow_deviation(context.teacher[stride]) if term.standardize else [1.0] * WIDTHS[stride]
        for b in range(2):
            objects = [box for box, image in zip(clipped, BOX_IMAGE.tolist(), strict=True) if image == b]
            modules = loss.module.procreate[name]
            given = context.teacher[stride][b], context.student[stride][b], objects, stride, term, modules, scale
            expected += slow_loss(*given) / 2
        assert output.parts[name].item() == pytest.approx(expected, rel=1e-9)


# --- invariants ---

maps = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.integers(0, 999)).map(
    lambda shape: 4 * torch.randn(*shape[:4], generator=torch.Generator().manual_seed(shape[4]), dtype=torch.float64)
)
temperatures = st.sampled_from([0.05, 0.5, 0.8, 1.0, 20.0])


@settings(max_examples=50, deadline=None)
@given(maps, temperatures, st.floats(0.2, 3))
def test_attention_averages_to_one_and_hides_above_a_threshold_of_the_energy(
    teacher: Tensor, temperature: float, tau: float
) -> None:
    attention = spatial_attention(teacher, temperature)
    assert attention.shape == (len(teacher), 1, *teacher.shape[2:])
    assert attention.mean((1, 2, 3)).tolist() == pytest.approx([1.0] * len(teacher))
    of_channels = channel_attention(teacher, temperature)
    assert of_channels.shape == (*teacher.shape[:2], 1, 1)
    assert of_channels.mean((1, 2, 3)).tolist() == pytest.approx([1.0] * len(teacher))
    # A^s > tau is a_s > T (log tau + log mean exp(a_s / T)): the temperature only moves the threshold.
    energy = teacher.abs().mean(1, keepdim=True)
    mean = (energy / temperature).flatten(1).logsumexp(1) - math.log(energy[0].numel())
    threshold = temperature * (math.log(tau) + mean).view(-1, 1, 1, 1)
    clear = (energy - threshold).abs() > 1e-9
    hidden = spatial_mask(attention, torch.zeros_like(attention, dtype=torch.bool), tau) == 0
    assert torch.equal(hidden[clear], (energy > threshold)[clear])


def test_masks_are_the_identity_without_thresholds() -> None:
    context = make_context()
    free = RegeneratedTerm(Regenerated(tau_area=0, tau_s=1e300, tau_c=1e300), WIDTHS).double()
    shares = free(context.at_boundary()).shares
    assert set(shares) == {f"P{p}/hidden_{what}" for p in (2, 3, 4, 5) for what in ("cells", "channels")}
    assert all(share == 0 for share in shares.values())
    for threshold in (math.inf, 1e300):
        attention = spatial_attention(context.teacher[8], 0.5)
        assert spatial_mask(attention, torch.zeros_like(attention, dtype=torch.bool), threshold).min() == 1
        assert channel_mask(channel_attention(context.teacher[8], 0.5), threshold).min() == 1


def test_a_map_that_is_all_hidden_is_rebuilt_from_the_biases() -> None:
    loss = build(Regenerated(tau_s=1e-300, tau_c=1e-300, levels=(16,)), WIDTHS).double()
    context = make_context()
    output = loss(context)
    assert output.shares == {"P4/hidden_cells": 1, "P4/hidden_channels": 1}
    output.value.backward()
    assert output.value.isfinite()
    assert context.student[16].grad.abs().max() == 0  # nothing of the student came through, and the graph is kept


def test_every_tiny_object_is_hidden_and_nothing_else_when_the_attention_threshold_is_off() -> None:
    output = build(Regenerated(tau_s=1e300, tau_c=1e300), WIDTHS).double()(make_context())
    # Below 500 px^2: two that share 2 of their 4 cells each, one on 6 x 6, and what the edge leaves of 30 x 30 px.
    assert output.shares["P2/hidden_cells"].item() == pytest.approx((4 + 2 + 36 + 24) / (2 * 16 * 24), rel=1e-6)


def test_learned_fusion_starts_as_the_plain_sum_and_learns() -> None:
    torch.manual_seed(0)
    plain = build(Regenerated(), WIDTHS).double()
    learned = build(Regenerated(fusion="learned"), WIDTHS).double()
    learned.load_state_dict(plain.state_dict(), strict=False)
    context = make_context()
    assert learned(context).value.item() == pytest.approx(plain(context).value.item(), rel=1e-12)
    learned(context).value.backward()
    assert all(modules.fusion.grad.abs().min() > 0 for modules in learned.module.procreate.values())


def test_channel_kernel() -> None:
    assert ProcreateModules(4, 1, "sum").channel[0].kernel_size == (1, 1)
    assert ProcreateModules(4, 3, "sum").channel[2].kernel_size == (3, 3)
    assert ProcreateModules(4, 1, "sum").spatial[0].kernel_size == (3, 3)


def test_cells_count_by_the_share_of_them_that_their_object_fills() -> None:
    """By hand: of the cells of stride 8, one lies under an object of 4 x 4 px, one under that and one of 8 x 4."""
    boxes = torch.tensor([[4.0, 0, 8, 4], [0.0, 0, 8, 4]])
    for objects, expected in ((boxes[:1], 16 / 64), (boxes, 32 / 64)):
        regions = rasterise(objects, torch.zeros(len(objects), dtype=torch.long), 8, (1, 1, 2))
        assert cell_weight(visibility(objects, 8), regions).flatten().tolist() == [expected, 1]
    weight = torch.tensor([[[[0.25, 1.0]]]])
    teacher, rebuilt = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 5.0]]]])
    assert regenerated_loss(teacher, rebuilt, weight=weight).item() == 0.25 * 4 + 9


def test_a_separable_block_is_the_full_block_of_the_product_of_its_kernels() -> None:
    torch.manual_seed(0)
    separable, full = generation_block(3, form="separable").double(), generation_block(3).double()
    with torch.no_grad():
        for by_channel, across, whole in ((separable[0], separable[1], full[0]), (separable[3], separable[4], full[2])):
            whole.weight.copy_(across.weight * by_channel.weight.transpose(0, 1))
            whole.bias.copy_(across.bias + across.weight[:, :, 0, 0] @ by_channel.bias)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(separable(x), full(x))


def test_halved_maps_of_stride_4_are_compared_as_those_of_stride_8_are() -> None:
    context = make_context()
    halved = build(Regenerated(levels=(4,), halve_p2=True, tau_area_unit="cells", tau_area=9), WIDTHS).double()
    whole = build(Regenerated(levels=(8,), tau_area_unit="cells", tau_area=9), {8: WIDTHS[4]}).double()
    whole.load_state_dict({key.replace("P2", "P3"): value for key, value in halved.state_dict().items()})
    mean = {role: {8: avg_pool2d(getattr(context, role)[4], 2)} for role in ("teacher", "student")}
    one, other = halved(context), whole(replace(context, **mean))
    torch.testing.assert_close(one.value, other.value)
    assert one.shares["P2/hidden_cells"] == other.shares["P3/hidden_cells"]


def test_what_a_block_costs() -> None:
    count = {form: sum(w.numel() for w in generation_block(64, form=form).parameters()) for form in FORMS}
    assert count["half"] < 0.51 * count["full"]
    assert count["bottleneck"] < 0.26 * count["full"]
    assert count["separable"] < 0.14 * count["full"]


def test_gradient_reaches_student_and_every_procreate_weight() -> None:
    loss, context = build(Regenerated(), WIDTHS).double(), make_context()
    loss(context).value.backward()
    assert all(x.grad.abs().max() > 0 for x in context.student.values())
    assert all(p.grad.abs().max() > 0 for p in loss.parameters())
    assert len(list(loss.parameters())) == 4 * 8


# --- gradcheck ---


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form: Form) -> None:
    torch.manual_seed(3)
    modules = ProcreateModules(2, 3, "learned", form).double()
    teacher = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    student = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    attention = spatial_attention(teacher, 0.5)
    mask_s = spatial_mask(attention, torch.zeros_like(attention, dtype=torch.bool), 1.0)
    mask_c = channel_mask(channel_attention(teacher, 0.5), 1.0)
    names, weights = zip(*modules.named_parameters(), strict=True)

    def loss(student: Tensor, *weights: Tensor) -> Tensor:
        given = dict(zip(names, weights, strict=True))
        rebuilt = torch.func.functional_call(modules, given, (student, mask_s, mask_c))
        scale = 1.0 if form == "full" else deviation(teacher)
        return regenerated_loss(teacher / scale, rebuilt / scale, weight=None if form == "full" else 1 + mask_s)

    assert torch.autograd.gradcheck(loss, (student, *weights))
