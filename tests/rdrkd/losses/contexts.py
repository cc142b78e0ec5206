"""Small batches for the losses' tests: two images, four levels, a few classes, overlapping objects of every size."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rdrkd.losses import Branch, Context, Cross, Head, Hidden

WIDTHS = {4: 3, 8: 4, 16: 5, 32: 6}
IMGSZ = (64, 96)
ANCHORS = {8: slice(0, 96), 16: slice(96, 120), 32: slice(120, 126)}  # of a head with the strides 8, 16, 32
COUNT = 126
BOXES = torch.tensor(
    [
        [15.0, 7.0, 17.0, 9.0],  # tiny, on a corner of cells, inside the next
        [3.5, 2.5, 60.0, 50.25],  # large
        [80.0, 40.0, 110.0, 70.0],  # across the edge
        [20.0, 8.0, 41.0, 30.0],  # below 500 px^2
        [8.0, 4.0, 15.5, 12.0],  # larger than the first, but on fewer cells of stride 16
    ],
    dtype=torch.float64,
)
BOX_IMAGE = torch.tensor([0, 0, 1, 0, 0])


def make_context(
    boxes: Tensor = BOXES,
    box_image: Tensor = BOX_IMAGE,
    batch: int = 2,
    nc: int = 3,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    crossed: bool = True,
) -> Context:
    """A batch whose every tensor of teacher and student asks for a gradient; `crossed`: with the maps in the heads."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype).requires_grad_()

    def maps() -> dict[int, Tensor]:
        return {
            stride: normal(batch, width, IMGSZ[0] // stride, IMGSZ[1] // stride) for stride, width in WIDTHS.items()
        }

    def head() -> Head:
        corners = torch.rand(batch, COUNT, 2, 2, generator=random, dtype=torch.float64) * 40
        corners[:, :, 1] += corners[:, :, 0] + 3
        boxes = corners.flatten(2).to(dtype).requires_grad_()
        return Head(normal(batch, nc, COUNT), boxes, normal(batch, COUNT, 4, 5))

    teacher, student = maps(), maps()
    branch = Branch(
        teacher=head(),
        student=head(),
        labels=torch.randint(nc, (batch, COUNT), generator=random),
        target_scores=torch.rand(batch, COUNT, nc, generator=random).to(dtype),
        foreground=torch.rand(batch, COUNT, generator=random) > 0.5,
    )
    if crossed:
        branch = replace(branch, cross=make_cross(batch, nc, dtype, random))
    return Context(
        teacher=teacher,
        student=student,
        boxes=boxes.to(dtype),
        box_image=box_image,
        imgsz=IMGSZ,
        branches=(branch,),
        teacher_scores=branch.teacher.scores,
        anchors=ANCHORS,
    )


def make_cross(batch: int, nc: int, dtype: torch.dtype, random: torch.Generator) -> Cross:
    """Maps inside two heads of the strides 8, 16, 32, and the rest of one: an activation and a 1x1 convolution."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)

    def hidden() -> Hidden:
        boxes, scores = (
            {
                stride: normal(batch, channels, IMGSZ[0] // stride, IMGSZ[1] // stride).requires_grad_()
                for stride in ANCHORS
            }
            for channels in (3, 2)
        )
        return Hidden(boxes, scores)

    weights = {stride: (normal(20, 3), normal(nc, 2)) for stride in ANCHORS}

    def rest(maps: Hidden) -> Head:
        found: list[list[Tensor]] = [[], []]
        for stride, of_level in weights.items():
            for x, weight, outputs in zip((maps.boxes[stride], maps.scores[stride]), of_level, found, strict=True):
                outputs.append(nn.functional.conv2d(nn.functional.silu(x), weight.to(x)[:, :, None, None]).flatten(2))
        sides, scores = (torch.cat(outputs, dim=2) for outputs in found)
        sides = sides.view(len(sides), 4, 5, COUNT).permute(0, 3, 1, 2)
        near, far = (sides[:, :, part].softmax(3) @ torch.arange(5.0).to(sides) for part in (slice(0, 2), slice(2, 4)))
        center = torch.arange(COUNT).to(sides)[:, None]
        return Head(scores, torch.cat([center - near, center + far], dim=2), sides)

    return Cross(hidden(), hidden(), rest)


def with_branch(context: Context, **changes: Any) -> Context:
    """The same batch with something else in its only branch."""
    branch = replace(context.branches[0], **changes)
    return replace(context, branches=(branch,), teacher_scores=branch.teacher.scores)


def without_objects(context: Context) -> Context:
    branch = context.branches[0]
    return with_branch(
        replace(context, boxes=context.boxes[:0], box_image=context.box_image[:0]),
        target_scores=torch.zeros_like(branch.target_scores),
        foreground=torch.zeros_like(branch.foreground),
    )


def doubled(context: Context) -> Context:
    """The batch followed by itself."""

    def twice(x: Tensor) -> Tensor:
        return torch.cat([x, x])

    branch = context.branches[0]
    cross = branch.cross and replace(
        branch.cross, teacher=branch.cross.teacher.mapped(twice), student=branch.cross.student.mapped(twice)
    )
    return with_branch(
        replace(
            context,
            teacher={stride: twice(x) for stride, x in context.teacher.items()},
            student={stride: twice(x) for stride, x in context.student.items()},
            boxes=twice(context.boxes),
            box_image=torch.cat([context.box_image, context.box_image + len(branch.foreground)]),
        ),
        teacher=branch.teacher.mapped(twice),
        student=branch.student.mapped(twice),
        labels=twice(branch.labels),
        target_scores=twice(branch.target_scores),
        foreground=twice(branch.foreground),
        cross=cross,
    )


def mirrored(context: Context) -> Context:
    """The batch flipped left to right: maps, boxes, and the anchors of each level."""
    height, width = context.imgsz
    cells = torch.arange(COUNT)
    order = torch.cat([
        cells[part].view(height // stride, width // stride).flip(1).flatten() for stride, part in ANCHORS.items()
    ])  # fmt: skip

    def boxes(x: Tensor) -> Tensor:
        x1, y1, x2, y2 = x.unbind(-1)
        return torch.stack([width - x2, y1, width - x1, y2], dim=-1)

    def head(of: Head) -> Head:
        assert of.sides is not None
        return Head(of.scores[:, :, order], boxes(of.boxes[:, order]), of.sides[:, order][:, :, [2, 1, 0, 3]])

    def cross(of: Cross) -> Cross:
        """A rest that sees the maps as they were, and whose predictions are flipped."""

        def flipped(hidden: Hidden) -> Hidden:
            return hidden.mapped(lambda x: x.flip(3))

        return Cross(flipped(of.teacher), flipped(of.student), lambda hidden: head(of.rest(flipped(hidden))))

    branch = context.branches[0]
    return with_branch(
        replace(
            context,
            teacher={stride: x.flip(3) for stride, x in context.teacher.items()},
            student={stride: x.flip(3) for stride, x in context.student.items()},
            boxes=boxes(context.boxes),
        ),
        teacher=head(branch.teacher),
        student=head(branch.student),
        labels=branch.labels[:, order],
        target_scores=branch.target_scores[:, order],
        foreground=branch.foreground[:, order],
        cross=branch.cross and cross(branch.cross),
    )


def reordered(context: Context) -> Context:
    """The same ground truth in another order."""
    order = torch.arange(len(context.boxes)).flip(0)
    return replace(context, boxes=context.boxes[order], box_image=context.box_image[order])


def student_tensors(context: Context) -> list[Tensor]:
    head, cross = context.branches[0].student, context.branches[0].cross
    return [*context.student.values(), head.scores, head.boxes, _sides(head), *(inside(cross.student) if cross else ())]


def teacher_tensors(context: Context) -> list[Tensor]:
    head, cross = context.branches[0].teacher, context.branches[0].cross
    return [*context.teacher.values(), head.scores, head.boxes, _sides(head), *(inside(cross.teacher) if cross else ())]


def inside(hidden: Hidden) -> list[Tensor]:
    return [*hidden.boxes.values(), *hidden.scores.values()]


def _sides(head: Head) -> Tensor:
    assert head.sides is not None
    return head.sides
