import math
from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rdrkd.boxes import clip_boxes, rasterise
from rdrkd.losses import build
from rdrkd.losses.decoupled import area_softmax, cell_weight, decoupled_loss
from rdrkd.spec import Decoupled
from tests.rdrkd.losses.contexts import BOX_IMAGE, BOXES, IMGSZ, WIDTHS, make_context, without_objects
from tests.rdrkd.losses.slow import slow_deviation

ONE_IMAGE = torch.zeros(3, dtype=torch.long)


def softmax_of(areas: Tensor) -> Tensor:
    return area_softmax(areas, torch.zeros(len(areas), dtype=torch.long), 1)


# --- numbers worked by hand ---


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ([0.000625, 0.01, 0.04], [0.3336041592, 0.3334478188, 0.3329480220]),
        ([4.0, 16.0, 64.0], [0.6255478609, 0.3433079450, 0.0311441942]),
    ],
)
def test_area_softmax_by_hand(areas: list[float], expected: list[float]) -> None:
    assert softmax_of(torch.tensor(areas, dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-10)


def test_loss_by_hand() -> None:
    teacher = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # one channel, 2 x 2 cells; the student's map is 0
    foreground = torch.tensor([[[True, False], [False, False]]])
    weight = foreground * 0.25
    student = torch.zeros_like(teacher)

    def loss(**options: object) -> float:
        return decoupled_loss(teacher, student, weight, foreground, **options).item()  # type: ignore[arg-type]

    assert loss() == pytest.approx(0.5 * 0.25 * 1 + 0.5 * (4 + 9 + 16) / 3)
    assert loss(alpha=2, beta=0) == 0.5
    assert loss(alpha=0, beta=1, background_norm="none") == 29
    two_channels = torch.cat([teacher, teacher], dim=1)
    assert decoupled_loss(
        two_channels, torch.zeros_like(two_channels), weight, foreground, 0, 1, "elements"
    ).item() == pytest.approx(29 / 3)


@pytest.mark.parametrize(
    ("overlap", "row"),
    [
        ("max", [1.0, 3.0, 3.0, 2.0, 0.0]),
        ("sum", [1.0, 4.0, 6.0, 2.0, 0.0]),
        ("mean", [1.0, 2.0, 2.0, 2.0, 0.0]),
        ("smallest", [1.0, 3.0, 2.0, 2.0, 0.0]),
    ],
)
def test_cells_of_several_objects_by_hand(overlap: str, row: list[float]) -> None:
    """Columns: the first object alone, the first and the third, all three, the second alone, none."""
    boxes = torch.tensor([[0.0, 0, 3, 2], [2.0, 0, 4, 1], [1.0, 0, 3, 1]])
    regions = rasterise(boxes, ONE_IMAGE, 1, (1, 2, 5))
    areas, weights = torch.tensor([6.0, 1.5, 2.0]), torch.tensor([6.0, 4.0, 6.0])
    weight = cell_weight(regions, areas, weights, torch.tensor([6.0, 2.0, 2.0]), overlap)  # type: ignore[arg-type]
    assert weight[0, 0].tolist() == row
    assert weight[0, 1].tolist() == [1, 1, 1, 0, 0]


def test_of_equally_small_objects_the_heavier_wins_in_either_order() -> None:
    regions = rasterise(torch.tensor([[0.0, 0, 2, 1], [0.0, 0, 2, 1]]), ONE_IMAGE[:2], 1, (1, 1, 3))
    same, divisor = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0])
    for weights in (torch.tensor([1.0, 9.0]), torch.tensor([9.0, 1.0])):
        assert cell_weight(regions, same, weights, divisor, "smallest").flatten().tolist() == [9, 9, 0]


def test_the_smallest_object_wins_even_where_it_weighs_less() -> None:
    regions = rasterise(torch.tensor([[0.0, 0, 2, 1], [0.0, 0, 1, 1]]), ONE_IMAGE[:2], 1, (1, 1, 3))
    weights, divisor = torch.tensor([9.0, 1.0]), torch.tensor([1.0, 1.0])
    assert cell_weight(regions, regions.sizes, weights, divisor, "smallest").flatten().tolist() == [1, 9, 0]
    assert cell_weight(regions, regions.sizes, weights, divisor, "max").flatten().tolist() == [9, 9, 0]


# --- a slow reference that reads like the paper ---


def cells_of(box: list[float], stride: int, height: int, width: int) -> list[tuple[int, int]]:
    x1, y1, x2, y2 = box
    return [
        (i, j)
        for i, j in product(range(height), range(width))
        if x1 < (j + 1) * stride and x2 > j * stride and y1 < (i + 1) * stride and y2 > i * stride
    ]


def area_of(box: list[float], cells: list[tuple[int, int]], unit: str) -> float:
    pixels = (box[2] - box[0]) * (box[3] - box[1])
    return {"cells": len(cells), "input_px": pixels, "image": pixels / (IMGSZ[0] * IMGSZ[1])}[unit]


def slow_loss(
    teacher: Tensor, student: Tensor, objects: list[list[list[float]]], stride: int, term: Decoupled
) -> float:
    """L_decouple of one level, averaged over the images."""
    batch, channels, height, width = teacher.shape
    cells = [[cells_of(box, stride, height, width) for box in image] for image in objects]
    scale = slow_deviation(teacher) if term.standardize else [1.0] * channels
    exponents = [
        [
            math.exp((1 - area_of(box, c, term.area_unit) - term.b) / term.temperature)
            for box, c in zip(objects[b], cells[b], strict=True)
        ]
        for b in range(batch)
    ]
    total = 0.0
    for b in range(batch):
        if term.softmax_over == "image":
            w = [e / sum(exponents[b]) for e in exponents[b]]
        else:  # one softmax over the batch; times B, the same mean weight as one per image
            w = [batch * e / sum(e for image in exponents for e in image) for e in exponents[b]]
        if term.by_visibility:
            w = [v * min(1.0, area_of(box, [], "input_px") / stride**2) for v, box in zip(w, objects[b], strict=True)]
        s_q = [area_of(box, c, term.divisor_unit) for box, c in zip(objects[b], cells[b], strict=True)]
        fore = back = 0.0
        n_bg = 0
        for i, j in product(range(height), range(width)):
            squared = sum(
                ((teacher[b, k, i, j].item() - student[b, k, i, j].item()) / scale[k]) ** 2 for k in range(channels)
            )
            here = [q for q, c in enumerate(cells[b]) if (i, j) in c]
            if not here:
                back += squared
                n_bg += 1
                continue
            weights = [w[q] / s_q[q] for q in here]
            areas = [area_of(box, c, term.area_unit) for box, c in zip(objects[b], cells[b], strict=True)]
            smallest = min(here, key=lambda q: (areas[q], -w[q] / s_q[q]))
            fore += (
                squared
                * {
                    "max": max(weights),
                    "sum": sum(weights),
                    "mean": sum(weights) / len(weights),
                    "smallest": w[smallest] / s_q[smallest],
                }[term.overlap]
            )
        n_bg = max(1, n_bg)
        back /= {"cells": n_bg, "elements": n_bg * channels, "none": 1}[term.background_norm]
        total += term.alpha * fore + term.beta * back
    return total / batch


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.3, "beta": 1.7, "temperature": 0.05},
        {"area_unit": "cells", "overlap": "sum"},
        {"area_unit": "cells", "overlap": "mean", "divisor_unit": "input_px"},
        {"area_unit": "cells", "overlap": "smallest", "divisor_unit": "image", "temperature": 3},
        {"area_unit": "cells", "softmax_over": "batch", "background_norm": "elements"},
        {"background_norm": "none", "overlap": "smallest"},
        {"by_visibility": True},
        {"by_visibility": True, "overlap": "mean", "standardize": True},
    ],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term = Decoupled(levels=(8, 16, 32), **options)
    context = make_context()
    output = build(term, WIDTHS)(context)
    boxes, image = clip_boxes(BOXES, BOX_IMAGE, IMGSZ)
    objects = [[box for box, b in zip(boxes.tolist(), image.tolist(), strict=True) if b == index] for index in (0, 1)]
    for stride, name in ((8, "P3"), (16, "P4"), (32, "P5")):
        expected = slow_loss(context.teacher[stride], context.student[stride], objects, stride, term)
        assert output.parts[name].item() == pytest.approx(expected, rel=1e-9)


# --- invariants ---

areas_strategy = st.lists(st.floats(0, 25_600), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(areas_strategy, st.sampled_from([0.05, 1.0, 20.0]), st.floats(-5, 5), st.data())
def test_area_softmax_sums_to_one_falls_with_the_area_and_does_not_know_b(
    areas: list[float], temperature: float, b: float, data: st.DataObject
) -> None:
    x = torch.tensor(areas, dtype=torch.float64)
    image = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(x), max_size=len(x))))
    weights = area_softmax(x, image, 4, temperature, 0.005)
    assert weights.isfinite().all()
    for group in range(4):
        of_image = weights[image == group]
        if len(of_image):
            assert of_image.sum().item() == pytest.approx(1)
        by_area = of_image[x[image == group].argsort()].tolist()
        assert all(smaller >= larger for smaller, larger in pairwise(by_area))
    assert torch.allclose(area_softmax(x, image, 4, temperature, b), weights, rtol=1e-9, atol=0)


@pytest.mark.parametrize("overlap", ["max", "sum", "smallest", "mean"])
def test_the_cells_of_separate_objects_share_a_weight_of_one(overlap: str) -> None:
    boxes = torch.tensor([[0.0, 0, 24, 16], [32.0, 0, 40, 40], [0.0, 25, 3, 28]], dtype=torch.float64)
    regions = rasterise(boxes, torch.tensor([0, 0, 1]), 8, (3, 5, 6))
    weights = area_softmax(regions.sizes.double(), regions.image, 3)
    total = cell_weight(regions, regions.sizes, weights, regions.sizes.double(), overlap).sum((1, 2))  # type: ignore[arg-type]
    assert total.tolist() == pytest.approx([1, 1, 0])


def test_overlapping_objects_keep_a_weight_of_one_only_as_a_sum() -> None:
    boxes, image = clip_boxes(BOXES, BOX_IMAGE, IMGSZ)
    regions = rasterise(boxes, image, 8, (2, 8, 12))
    weights = area_softmax(regions.sizes.double(), regions.image, 2)
    assert cell_weight(regions, regions.sizes, weights, regions.sizes.double(), "sum").sum(
        (1, 2)
    ).tolist() == pytest.approx([1, 1])
    assert cell_weight(regions, regions.sizes, weights, regions.sizes.double(), "max").sum((1, 2))[0].item() < 1


def test_a_tiny_object_inside_a_large_one_keeps_its_own_weight() -> None:
    regions = rasterise(torch.tensor([[0.0, 0, 40, 40], [16.0, 16, 18, 18]]), ONE_IMAGE[:2], 8, (1, 5, 5))
    weight = cell_weight(regions, regions.sizes, torch.tensor([0.5, 0.5]), regions.sizes.float())
    assert weight[0, 2, 2] == 0.5
    assert weight[0, 0, 0] == pytest.approx(0.5 / 25)


def test_zero_at_equality() -> None:
    context = make_context()
    context.student.update(context.teacher)
    assert build(Decoupled(), WIDTHS)(context).value.item() == 0


def test_an_image_without_objects_is_all_background() -> None:
    context = without_objects(make_context())
    output = build(Decoupled(levels=(16,)), WIDTHS)(context)
    distance = (context.teacher[16] - context.student[16]).square().sum(1).mean()
    assert output.value.item() == pytest.approx(0.5 * distance.item())
    assert output.shares == {"P4/background": 1}


def test_an_image_without_background_has_the_foreground_alone() -> None:
    boxes = torch.tensor([[0.0, 0, 96, 64], [-10.0, -10, 200, 200]], dtype=torch.float64)
    context = make_context(boxes, torch.tensor([0, 1]))
    output = build(Decoupled(levels=(16,)), WIDTHS)(context)
    distance = (context.teacher[16] - context.student[16]).square().sum(1).mean()  # W_q / S_q is 1 / (H W)
    assert output.value.item() == pytest.approx(0.5 * distance.item())
    assert output.shares == {"P4/background": 0}


@pytest.mark.parametrize("unit", ["image", "cells"])
def test_a_difference_on_a_small_object_costs_more_than_the_same_on_a_large_one(unit: str) -> None:
    boxes = torch.tensor([[0.0, 0, 8, 8], [32.0, 0, 96, 64]], dtype=torch.float64)
    context = make_context(boxes, torch.tensor([0, 0]))
    loss = build(Decoupled(levels=(8,), area_unit=unit, beta=0), WIDTHS)

    def cost(row: int, column: int) -> float:
        student = context.teacher[8].detach().clone()
        student[0, 0, row, column] += 1
        return loss(replace(context, student={8: student})).value.item()

    assert cost(0, 0) >= 64 * cost(3, 6) > 0  # 1 cell against 64
    assert cost(3, 1) == 0  # no object is here


# --- gradcheck ---


@pytest.mark.parametrize("norm", ["cells", "elements", "none"])
def test_gradcheck(norm: str) -> None:
    boxes, image = clip_boxes(BOXES, BOX_IMAGE, IMGSZ)
    regions = rasterise(boxes, image, 16, (2, 4, 6))
    weight = cell_weight(
        regions, regions.sizes, area_softmax(regions.sizes.double(), regions.image, 2), regions.sizes.double()
    )
    teacher = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    student = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: decoupled_loss(teacher, x, weight, regions.union(), 0.4, 0.6, norm),  # type: ignore[arg-type]
        (student,),
    )
