import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from rdrkd.boxes import clip_boxes, rasterise
from rdrkd.losses import build
from rdrkd.losses.fgd import GlobalContext, attention_loss, focal_loss, object_masks, relation_loss
from rdrkd.spec import Fgd
from tests.rdrkd.losses.contexts import BOX_IMAGE, BOXES, IMGSZ, WIDTHS, make_context, without_objects

GOLDEN = torch.tensor([[[[1.0, 3.0]], [[-1.0, 0.0]]]], dtype=torch.float64)  # B=1, C=2, 1 x 2 cells; T = 0.5 gives
CELLS, CHANNELS = (0.5378828427, 1.4621171573), (1.9051482536, 0.0948517464)
PARTS = ("foreground", "background", "attention", "relation")

# --- numbers worked by hand ---


def test_masks_by_hand() -> None:
    """A large object of 3 x 2 cells holds one of a single cell; 2 x 5 cells, the second image empty."""
    boxes = torch.tensor([[0.0, 0, 24, 16], [8.0, 8, 16, 16]])
    regions = rasterise(boxes, torch.tensor([0, 0]), 8, (2, 2, 5))
    foreground, background = object_masks(regions)
    sixth, quarter, tenth = 1 / 6, 1 / 4, 1 / 10
    assert foreground[0].flatten().tolist() == pytest.approx([sixth, sixth, sixth, 0, 0, sixth, 1, sixth, 0, 0])
    assert background[0].tolist() == [[0, 0, 0, quarter, quarter]] * 2
    assert foreground[1].max() == 0
    assert background[1].flatten().tolist() == pytest.approx([tenth] * 10)


def test_masks_of_the_official_code_by_hand() -> None:
    """One row and one column more: the area of 4 x 3 counts the row that the map does not have."""
    boxes = torch.tensor([[0.0, 0, 24, 16], [8.0, 0, 16, 8]])
    foreground, background = object_masks(rasterise(boxes, torch.tensor([0, 0]), 8, (1, 2, 5)), "official")
    twelfth, quarter = 1 / 12, 1 / 4
    assert foreground[0].tolist() == [pytest.approx([twelfth, quarter, quarter, twelfth, 0])] * 2
    assert background[0].tolist() == [[0, 0, 0, 0, 0.5]] * 2


def test_losses_by_hand() -> None:
    student = torch.zeros_like(GOLDEN)
    first, second = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    assert focal_loss(GOLDEN, student, first).item() == pytest.approx(CELLS[0] * (CHANNELS[0] + CHANNELS[1]))
    assert focal_loss(GOLDEN, student, second).item() == pytest.approx(CELLS[1] * CHANNELS[0] * 9)
    away = 2 * (CELLS[1] - 1) + 2 * (CHANNELS[0] - 1)  # a map of zeros has attention 1 everywhere
    assert attention_loss(GOLDEN, student).item() == pytest.approx(away)
    assert relation_loss(GOLDEN, student).item() == 1 + 9 + 1
    twice = [x.repeat(2, 1, 1, 1) for x in (GOLDEN, student)]
    assert relation_loss(*twice).item() == 11  # a mean over images


def test_global_context_by_hand() -> None:
    block = GlobalContext(4).double()
    first, last = block.transform[0], block.transform[3]
    with torch.no_grad():
        block.key.weight.zero_()  # all cells weigh the same
        first.weight.copy_(torch.eye(2, 4, dtype=torch.float64)[:, :, None, None])
        first.bias.zero_()
        last.weight.copy_(torch.tensor([[10.0, 5], [0, 5], [0, 5], [1, 5]], dtype=torch.float64)[:, :, None, None])
    x = torch.tensor([[3.0, 5], [1, 3], [9, 9], [0, 2]], dtype=torch.float64).view(1, 4, 1, 2)
    # means (4, 2) -> normalised (1, -1) -> ReLU (1, 0) -> ten times to channel 0, once to channel 3
    expected = x + torch.tensor([10.0, 0, 0, 1], dtype=torch.float64).view(1, 4, 1, 1)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-4)


# --- a slow reference that reads like the paper ---


def slow_attention(x: list, temperature: float) -> tuple[dict[tuple[int, int], float], list[float]]:  # type: ignore[type-arg]
    channels, height, width = len(x), len(x[0]), len(x[0][0])
    cells = list(product(range(height), range(width)))
    e_s = {(i, j): math.exp(sum(abs(x[k][i][j]) for k in range(channels)) / channels / temperature) for i, j in cells}
    e_c = [math.exp(sum(abs(x[k][i][j]) for i, j in cells) / len(cells) / temperature) for k in range(channels)]
    spatial = {cell: len(cells) * e / sum(e_s.values()) for cell, e in e_s.items()}
    return spatial, [channels * e / sum(e_c) for e in e_c]


def slow_context(x: list, block: GlobalContext) -> list[float]:  # type: ignore[type-arg]
    """What R adds to each channel."""
    channels, cells = len(x), list(product(range(len(x[0])), range(len(x[0][0]))))
    key, bias = block.key.weight.flatten().tolist(), block.key.bias.item()
    powers = {(i, j): math.exp(bias + sum(key[k] * x[k][i][j] for k in range(channels))) for i, j in cells}
    pooled = [sum(powers[i, j] * x[k][i][j] for i, j in cells) / sum(powers.values()) for k in range(channels)]
    first, norm, _, last = block.transform
    hidden = [
        b + sum(w * p for w, p in zip(row, pooled, strict=True))
        for row, b in zip(first.weight.flatten(1).tolist(), first.bias.tolist(), strict=True)
    ]
    mean = sum(hidden) / len(hidden)
    deviation = math.sqrt(sum((h - mean) ** 2 for h in hidden) / len(hidden) + norm.eps)
    scale, shift = norm.weight.flatten().tolist(), norm.bias.flatten().tolist()
    hidden = [max(0.0, s * (h - mean) / deviation + t) for h, s, t in zip(hidden, scale, shift, strict=True)]
    return [
        b + sum(w * h for w, h in zip(row, hidden, strict=True))
        for row, b in zip(last.weight.flatten(1).tolist(), last.bias.tolist(), strict=True)
    ]


def slow_parts(
    teacher: Tensor, student: Tensor, objects: list[list[float]], stride: int, term: Fgd, blocks: list[GlobalContext]
) -> list[float]:
    """The four losses of one image and level."""
    t, s = teacher.tolist(), student.tolist()
    channels, height, width = teacher.shape
    extra = 1 if term.object_cells == "official" else 0
    fore: dict[tuple[int, int], float] = {}
    for x1, y1, x2, y2 in objects:
        left, top = math.floor(x1 / stride), math.floor(y1 / stride)
        right, bottom = math.ceil(x2 / stride) + extra, math.ceil(y2 / stride) + extra
        for i, j in product(range(top, min(bottom, height)), range(left, min(right, width))):
            fore[i, j] = max(fore.get((i, j), 0.0), 1 / ((bottom - top) * (right - left)))
    spatial, by_channel = slow_attention(t, term.temperature)
    spatial_s, by_channel_s = slow_attention(s, term.temperature)
    n_bg = max(1, height * width - len(fore))
    added = [slow_context(x, block) for x, block in zip((t, s), blocks, strict=True)]
    foreground = background = relation = 0.0
    for k, i, j in product(range(channels), range(height), range(width)):
        value = spatial[i, j] * by_channel[k] * (t[k][i][j] - s[k][i][j]) ** 2
        foreground += fore.get((i, j), 0.0) * value
        background += 0 if (i, j) in fore else value / n_bg
        relation += (t[k][i][j] + added[0][k] - s[k][i][j] - added[1][k]) ** 2
    attention = sum(abs(spatial[c] - spatial_s[c]) for c in spatial)
    attention += sum(abs(a - b) for a, b in zip(by_channel, by_channel_s, strict=True))
    return [foreground, background, attention, relation]


def awake(loss: nn.Module) -> nn.Module:
    """Give the blocks' last layers weights that matter."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return loss


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"object_cells": "official", "temperature": 0.8},
        {"foreground_weight": 0.3, "background_weight": 2, "attention_weight": 0.7, "relation_weight": 0.1},
    ],
)
def test_the_term_agrees_with_the_slow_reference(options: dict[str, object]) -> None:
    term, context = Fgd(levels=(16, 32), **options), make_context()
    loss = awake(build(term, WIDTHS).double())
    boxes, image = clip_boxes(BOXES, BOX_IMAGE, IMGSZ)
    expected = [0.0] * 4
    for stride, name in ((16, "P4"), (32, "P5")):
        blocks = [loss.module.teacher[name], loss.module.student[name]]
        for b in range(2):
            found = slow_parts(
                context.teacher[stride][b], context.student[stride][b], boxes[image == b].tolist(), stride, term, blocks
            )
            expected = [total + value / 2 for total, value in zip(expected, found, strict=True)]
    output = loss(context)
    weights = [getattr(term, f"{part}_weight") for part in PARTS]
    for part, weight, value in zip(PARTS, weights, expected, strict=True):
        assert output.parts[part].item() == pytest.approx(weight * value, rel=1e-9)


def test_the_gradient_of_the_feature_losses_leaves_the_attention_alone() -> None:
    """2 A^s A^c M (F^s - F^t) / B: the attention is the teacher's, and a weight."""
    teacher, student = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64).unbind(0)
    mask = torch.rand(2, 4, 5, dtype=torch.float64)
    student.requires_grad_()
    focal_loss(teacher, student, mask).backward()
    for b, k, i, j in product(range(2), range(3), range(4), range(5)):
        spatial, channels = slow_attention(teacher[b].tolist(), 0.5)
        away = student[b, k, i, j].item() - teacher[b, k, i, j].item()
        expected = 2 * spatial[i, j] * channels[k] * mask[b, i, j].item() * away / 2
        assert student.grad[b, k, i, j].item() == pytest.approx(expected)


def test_the_gradient_of_the_attention_loss_goes_through_the_softmax() -> None:
    """With e = mean |F| / T: dA_k / de_j = A_k ([k = j] - A_j / n), for cells (n = H W) and channels (n = C) alike."""
    teacher, student = torch.randn(2, 1, 3, 2, 4, dtype=torch.float64).unbind(0)
    student.requires_grad_()
    attention_loss(teacher, student).backward()
    (of_t, by_t), (of_s, by_s) = (slow_attention(x[0].tolist(), 0.5) for x in (teacher, student))
    cells = list(of_s)

    def slope(own: list[float], others: list[float], j: int) -> float:
        """Of sum_k |A_k - A^t_k| by e_j."""
        signs = [math.copysign(1, a - b) for a, b in zip(own, others, strict=True)]
        return sum(sign * own[k] * ((k == j) - own[j] / len(own)) for k, sign in enumerate(signs))

    for k, (i, j) in product(range(3), cells):
        by_cell = slope([of_s[c] for c in cells], [of_t[c] for c in cells], cells.index((i, j))) / 3
        by_channel = slope(by_s, by_t, k) / 8
        expected = math.copysign(1, student[0, k, i, j].item()) * (by_cell + by_channel) / 0.5
        assert student.grad[0, k, i, j].item() == pytest.approx(expected)


# --- invariants ---


def test_the_masks_of_separate_objects_sum_to_their_number_and_the_background_to_one() -> None:
    boxes = torch.tensor([[0.0, 0, 24, 16], [32.0, 0, 40, 40], [0.0, 25, 3, 28]])
    regions = rasterise(boxes, torch.tensor([0, 0, 1]), 8, (3, 5, 6))
    foreground, background = object_masks(regions)
    assert foreground.sum((1, 2)).tolist() == pytest.approx([2, 1, 0])
    assert background.sum((1, 2)).tolist() == pytest.approx([1, 1, 1])
    assert (foreground * background).max() == 0


def test_an_image_that_is_all_object_has_no_background() -> None:
    boxes = torch.tensor([[0.0, 0, 96, 64], [-10.0, -10, 200, 200]], dtype=torch.float64)
    output = build(Fgd(), WIDTHS).double()(make_context(boxes, torch.tensor([0, 1])))
    assert output.parts["background"].item() == 0
    assert output.parts["foreground"].item() > 0


def test_images_without_objects_are_all_background() -> None:
    output = build(Fgd(), WIDTHS).double()(without_objects(make_context()))
    assert output.parts["foreground"].item() == 0
    assert output.parts["background"].item() > 0


def test_a_context_block_starts_as_the_identity_and_forgets_where_its_cells_are() -> None:
    x = torch.randn(2, 6, 3, 4)
    block = GlobalContext(6)
    assert torch.equal(block(x), x)
    awake(block)
    order = torch.randperm(12)
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(block(shuffled) - shuffled, block(x) - x)


def test_the_relation_trains_both_blocks_and_the_teachers_map_stays_out_of_it() -> None:
    context = make_context()
    loss = awake(build(Fgd(levels=(32,)), WIDTHS).double())
    loss(context).value.backward()
    for of in ("teacher", "student"):
        gradients = {name: p.grad for name, p in getattr(loss.module, of)["P5"].named_parameters()}
        # the softmax over the cells cancels the key's bias
        assert all(g.abs().max() > 1e-12 for name, g in gradients.items() if name != "key.bias")
    assert context.teacher[32].grad is None


# --- gradcheck ---


def test_gradcheck() -> None:
    torch.manual_seed(2)
    teacher = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    student = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 2, 3, dtype=torch.float64)
    blocks = nn.ModuleList([awake(GlobalContext(4)), awake(GlobalContext(4))]).double()
    names, weights = zip(*blocks.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(lambda x: focal_loss(teacher, x, mask), (student,))
    assert torch.autograd.gradcheck(lambda x: attention_loss(teacher, x), (student,))

    def relation(student: Tensor, *weights: Tensor) -> Tensor:
        of = [{n[2:]: w for n, w in zip(names, weights, strict=True) if n[0] == block} for block in "01"]
        outputs = [
            torch.func.functional_call(blocks[index], of[index], (x,)) for index, x in enumerate((teacher, student))
        ]
        return relation_loss(*outputs)

    assert torch.autograd.gradcheck(relation, (student, *weights))
