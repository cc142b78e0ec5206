import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import box_iou, distance_box_iou_loss, generalized_box_iou_loss

from rdrkd.boxes import (
    CELLS_AT_ONCE,
    Objects,
    Regions,
    box_areas,
    clip_boxes,
    eiou_loss,
    giou_loss,
    object_areas,
    rasterise,
)

HEIGHT, WIDTH = 5, 7  # cells


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)


def images(boxes: Tensor) -> Tensor:
    return torch.zeros(len(boxes), dtype=torch.long)


# --- clipping and rasterisation ---


def test_clipping_cuts_at_the_input_and_drops_what_has_no_area_there() -> None:
    boxes = boxes_of(
        (-5, -5, 10, 8), (30, 30, 99, 99), (60, 3, 70, 9), (7, 7, 7, 9), (9, 9, 8, 12), (1, math.nan, 2, 3)
    )
    clipped, image = clip_boxes(boxes, torch.arange(6), (40, 50))
    assert clipped.tolist() == [[0, 0, 10, 8], [30, 30, 50, 40]]
    assert image.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ((0, 0, 8, 8), (0, 0, 1, 1)),  # exactly one cell, not two: FGD's extra row and column is not copied
        ((9, 10, 11, 12), (1, 1, 2, 2)),  # inside one cell
        ((7, 15.9, 9, 16.1), (0, 1, 2, 3)),  # across corners
        ((8, 16, 56, 40), (1, 2, 7, 5)),  # up to the edge
        ((55.9999, 39.9999, 56, 40), (6, 4, 7, 5)),  # the last cell
        ((8, 16, 8, 16), (1, 2, 2, 3)),  # a point on a corner has a cell, too
    ],
)
def test_a_box_covers_the_cells_it_touches(box: tuple[float, ...], cells: tuple[int, ...]) -> None:
    regions = rasterise(torch.tensor([box], dtype=torch.float64), torch.tensor([0]), 8, (1, HEIGHT, WIDTH))
    assert regions.ranges.tolist() == [list(cells)]
    assert regions.sizes.tolist() == [(cells[2] - cells[0]) * (cells[3] - cells[1])]


def test_a_box_keeps_a_cell_where_the_map_is_smaller_than_the_input() -> None:
    regions = rasterise(boxes_of((60, 44, 62, 46)), torch.tensor([0]), 8, (1, HEIGHT, WIDTH))
    assert regions.ranges.tolist() == [[6, 4, 7, 5]]


sides = st.integers(-40, 320).map(lambda quarter: quarter / 4)
random_boxes = st.lists(st.tuples(sides, sides, sides, sides), max_size=8).map(lambda rows: boxes_of(*rows))


def covered(box: list[float], row: int, column: int, stride: int) -> bool:
    """Does a cell share an area with the box?"""
    x1, y1, x2, y2 = box
    overlap_x = min(x2, (column + 1) * stride) - max(x1, column * stride)
    overlap_y = min(y2, (row + 1) * stride) - max(y1, row * stride)
    return overlap_x > 0 and overlap_y > 0


@settings(max_examples=60, deadline=None)
@given(random_boxes, st.data())
def test_painting_agrees_with_asking_every_cell_for_every_box(boxes: Tensor, data: st.DataObject) -> None:
    stride, batch = 8, 2
    image = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=len(boxes), max_size=len(boxes)))).long()
    boxes, image = clip_boxes(boxes, image, (HEIGHT * stride, WIDTH * stride))
    values = torch.tensor(data.draw(st.lists(st.integers(0, 9), min_size=len(boxes), max_size=len(boxes)))).double()
    regions = rasterise(boxes, image, stride, (batch, HEIGHT, WIDTH))
    largest, total, union = regions.paint(values, "max"), regions.paint(values, "sum"), regions.union()
    sizes = [0] * len(boxes)
    for b in range(batch):
        for i in range(HEIGHT):
            for j in range(WIDTH):
                here = [q for q, box in enumerate(boxes.tolist()) if image[q] == b and covered(box, i, j, stride)]
                assert largest[b, i, j] == max((values[q] for q in here), default=0)
                assert total[b, i, j] == sum(values[q] for q in here)
                assert union[b, i, j] == bool(here)
                for q in here:
                    sizes[q] += 1
    assert regions.sizes.tolist() == sizes


def test_areas_in_every_unit() -> None:
    boxes = boxes_of((0, 0, 12, 8))
    regions = rasterise(boxes, images(boxes), 8, (1, HEIGHT, WIDTH))
    assert box_areas(boxes).tolist() == [96]
    assert object_areas(boxes, regions, (40, 56), "input_px").tolist() == [96]
    assert object_areas(boxes, regions, (40, 56), "image").tolist() == [96 / 40 / 56]
    assert object_areas(boxes, regions, (40, 56), "cells").tolist() == [2]


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.slow
def test_a_crowded_mosaic_is_painted_in_pieces() -> None:
    """1200 boxes that each cover half of 160 x 160 cells: all pairs at once would be 15 million."""
    count, side = 1200, 160
    near = torch.arange(count).remainder(50)
    ranges = torch.stack([near, near * 0, near + 100, near * 0 + 128], dim=1)
    regions = Regions(torch.zeros(count, dtype=torch.long), ranges, (1, side, side))
    assert regions.sizes.sum() > 14 * CELLS_AT_ONCE
    with LargestTensor() as largest:
        total = regions.paint(torch.ones(count), "sum")
        highest = regions.paint(near.float(), "max")
    assert largest.numel <= CELLS_AT_ONCE + side * side
    columns = torch.arange(side)
    over = (columns >= ranges[:, :1]) & (columns < ranges[:, 2:3])  # (count, side): the same for every covered row
    assert torch.equal(total[0, 0], over.sum(0).float())
    assert torch.equal(highest[0, 127], (over * near[:, None]).amax(0).float())
    assert total[0, 128:].abs().max() == 0


# --- Efficient IoU ---


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        ((10, 10, 30, 30), (15, 10, 40, 30), 0.5710470085),
        ((0, 0, 10, 10), (20, 20, 30, 40), 1.4725),
        ((0, 0, 10, 10), (2, 3, 6, 11), 1.1464515164),
        ((3, 4, 13, 24), (3, 4, 13, 24), 0),
    ],
)
def test_eiou_by_hand(box: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    loss = eiou_loss(torch.tensor([box], dtype=torch.float64), torch.tensor([other], dtype=torch.float64))
    assert loss.item() == pytest.approx(expected, abs=2e-9)


def slow_eiou(a: list[float], b: list[float]) -> float:
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    w_a, h_a, w_b, h_b = a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]
    iou = inter / (w_a * h_a + w_b * h_b - inter)
    enclosing_w, enclosing_h = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    centre_a, centre_b = ((a[0] + a[2]) / 2, (a[1] + a[3]) / 2), ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2)
    distance = (math.dist(centre_a, centre_b) / math.hypot(enclosing_w, enclosing_h)) ** 2
    return 1 - iou + distance + ((w_a - w_b) / enclosing_w) ** 2 + ((h_a - h_b) / enclosing_h) ** 2


box_strategy = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(1, 300), st.floats(1, 300)).map(
    lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]]
)

# Whichever way round: what a head without DFL can predict.
corner_strategy = st.lists(st.floats(-100, 600), min_size=4, max_size=4)


@settings(max_examples=100, deadline=None)
@given(box_strategy, box_strategy, st.floats(0.25, 32))
def test_eiou_agrees_with_the_formula_and_keeps_its_symmetries(a: list[float], b: list[float], scale: float) -> None:
    x, y = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    loss = eiou_loss(x, y).item()
    assert loss == pytest.approx(slow_eiou(a, b), abs=1e-6)
    assert loss >= 0
    assert eiou_loss(y, x).item() == pytest.approx(loss, abs=1e-12)
    assert eiou_loss(x * scale, y * scale).item() == pytest.approx(loss, abs=1e-5)
    assert eiou_loss(
        -x[:, [2, 1, 0, 3]] * torch.tensor([1, -1, 1, -1]), -y[:, [2, 1, 0, 3]] * torch.tensor([1, -1, 1, -1])
    ).item() == (pytest.approx(loss, abs=1e-9))
    assert eiou_loss(x, y, focal=True).item() == pytest.approx(loss * box_iou(x, y).item() ** 0.5, abs=1e-6)


def test_eiou_of_boxes_of_one_size_is_the_distance_iou_of_torchvision() -> None:
    a = boxes_of((0, 0, 10, 20), (5, 5, 8, 8))
    b = a + torch.tensor([3.0, -2.0, 3.0, -2.0])
    assert eiou_loss(a, b).tolist() == pytest.approx(distance_box_iou_loss(a, b).tolist(), abs=1e-7)


@pytest.mark.parametrize("focal", [False, True])
def test_eiou_gradient(focal: bool) -> None:
    a = boxes_of((10, 10, 30, 31), (0, 0, 10, 11), (50, 50, 60, 70)).requires_grad_()
    b = boxes_of((15, 12, 40, 33), (2, 3, 6, 12), (0, 1, 9, 7))
    if focal:  # the factor is a constant weight: the gradient is that of the plain loss, scaled
        weight = box_iou(a.detach(), b).diagonal().sqrt()
        (focal_gradient,) = torch.autograd.grad(eiou_loss(a, b, focal=True).sum(), a)
        (gradient,) = torch.autograd.grad(eiou_loss(a, b).sum(), a)
        assert torch.allclose(focal_gradient, weight[:, None] * gradient, atol=1e-8)
    else:
        assert torch.autograd.gradcheck(lambda x: eiou_loss(x, b), (a,))


@pytest.mark.parametrize("focal", [False, True])
def test_eiou_stays_finite_for_degenerate_boxes(focal: bool) -> None:
    a = boxes_of((5, 5, 5, 5), (5, 5, 5, 9), (9, 9, 5, 5), (9, 5, 5, 9), (0, 0, 1, 1), (7, 7, 9, 9)).float()
    b = boxes_of((5, 5, 5, 5), (5, 5, 9, 9), (5, 5, 9, 9), (5, 5, 9, 9), (4000, 4000, 4001, 4001), (7, 7, 9, 9)).float()
    a.requires_grad_()
    loss = eiou_loss(a, b, focal)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@settings(max_examples=100, deadline=None)
@given(corner_strategy, corner_strategy)
def test_eiou_is_bounded_whichever_box_is_inverted(a: list[float], b: list[float]) -> None:
    boxes, others = boxes_of(tuple(a)).requires_grad_(), boxes_of(tuple(b)).requires_grad_()
    loss = eiou_loss(boxes, others)
    assert float(loss.detach()) <= 10 + 1e-6
    torch.testing.assert_close(eiou_loss(others, boxes), loss)
    gradients = torch.autograd.grad(loss.sum(), (boxes, others))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_eiou_of_a_thin_inverted_teacher_box_does_not_explode() -> None:
    student, teacher = boxes_of((8, 0, 8.001, 4)), boxes_of((9, 0, 7, 4))
    assert float(eiou_loss(student, teacher)) < 4  # 4 million where the enclosing box has not all corners


@settings(max_examples=100, deadline=None)
@given(corner_strategy, corner_strategy)
def test_giou_is_bounded_whichever_box_is_inverted(a: list[float], b: list[float]) -> None:
    inverted = sum(any(own[side + 2] < own[side] for side in (0, 1)) for own in (a, b))
    assert float(giou_loss(boxes_of(tuple(a)), boxes_of(tuple(b)))) <= 2 + inverted + 1e-6


def test_eiou_pulls_an_inverted_box_back() -> None:
    inverted = boxes_of((9, 9, 5, 5)).requires_grad_()
    eiou_loss(inverted, boxes_of((5, 5, 9, 9))).sum().backward()
    assert inverted.grad is not None
    assert (inverted.grad[0, :2] > 0).all()  # descending moves the near corner back ...
    assert (inverted.grad[0, 2:] < 0).all()  # ... and the far one out


# --- Generalised IoU ---


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        ((10, 10, 30, 30), (15, 10, 40, 30), 1 - 300 / 600 + (600 - 600) / 600),
        ((0, 0, 10, 10), (20, 20, 30, 40), 1 - 0 + (1200 - 300) / 1200),
        ((0, 0, 10, 10), (2, 3, 6, 11), 1 - 28 / 104 + (110 - 104) / 110),
        ((3, 4, 13, 24), (3, 4, 13, 24), 0),
    ],
)
def test_giou_by_hand(box: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    loss = giou_loss(torch.tensor([box], dtype=torch.float64), torch.tensor([other], dtype=torch.float64))
    assert loss.item() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(box_strategy, box_strategy, st.floats(0.25, 32))
def test_giou_agrees_with_torchvision_and_keeps_its_symmetries(a: list[float], b: list[float], scale: float) -> None:
    x, y = (torch.tensor([box], dtype=torch.float64, requires_grad=True) for box in (a, b))
    loss, expected = giou_loss(x, y), generalized_box_iou_loss(x, y, eps=0)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)
    assert 0 <= loss.item() < 2
    assert giou_loss(y, x).item() == pytest.approx(loss.item(), abs=1e-12)
    assert giou_loss(x * scale, y * scale).item() == pytest.approx(loss.item(), abs=1e-9)


def test_giou_gradient() -> None:
    a = boxes_of((10, 10, 30, 31), (0, 0, 10, 11), (50, 50, 60, 70)).requires_grad_()
    b = boxes_of((15, 12, 40, 33), (2, 3, 6, 12), (0, 1, 9, 7))
    assert torch.autograd.gradcheck(lambda x: giou_loss(x, b), (a,))
    (gradient,) = torch.autograd.grad(giou_loss(a, b).sum(), a)
    (expected,) = torch.autograd.grad(generalized_box_iou_loss(a, b).sum(), a)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_giou_stays_finite_and_bounded_for_degenerate_boxes() -> None:
    a = boxes_of((5, 5, 5, 5), (9, 9, 5, 5), (9, 9, 5, 5), (9, 5, 5, 9), (0, 0, 1, 1), (7, 7, 9, 9)).float()
    b = boxes_of((5, 5, 5, 5), (9, 9, 5, 5), (5, 5, 9, 9), (5, 5, 9, 9), (4000, 4000, 4001, 4001), (7, 7, 9, 9)).float()
    a.requires_grad_()
    loss = giou_loss(a, b)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert loss.max() <= 4
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("inverted", [(9, 9, 5, 5), (9, 5, 5, 9), (8, 8, 6, 6)])
def test_giou_pulls_an_inverted_box_back(inverted: tuple[float, ...]) -> None:
    box = boxes_of(inverted).requires_grad_()
    giou_loss(box, boxes_of((4, 4, 10, 10))).sum().backward()
    assert box.grad is not None
    assert box.grad[0, 0] > 0  # descending moves the near side back ...
    assert box.grad[0, 2] < 0  # ... and the far one out


def test_objects_are_found_once_on_each_level() -> None:
    objects = Objects(torch.tensor([[-4.0, 0.0, 9.0, 16.0], [70.0, 0.0, 80.0, 9.0]]), torch.tensor([0, 0]), (64, 64))
    assert objects.boxes.tolist() == [[0, 0, 9, 16]]  # clipped; the other lies outside
    regions = objects.on(8, (1, 8, 8))
    assert regions.ranges.tolist() == [[0, 0, 2, 2]]
    assert objects.on(8, (1, 8, 8)) is regions
    assert regions.union() is regions.union()
    assert objects.on(16, (1, 4, 4)).ranges.tolist() == [[0, 0, 1, 1]]
