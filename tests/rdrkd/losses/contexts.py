"""Small batches for the losses' tests: two images, four levels, a few classes, overlapping objects of every size."""

from dataclasses import replace

import torch
from torch import Tensor

from rdrkd.losses import Context, Head

WIDTHS = {4: 3, 8: 4, 16: 5, 32: 6}
IMGSZ = (64, 96)
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
) -> Context:
    """A batch whose every tensor of teacher and student asks for a gradient."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype).requires_grad_()

    def maps() -> dict[int, Tensor]:
        return {
            stride: normal(batch, width, IMGSZ[0] // stride, IMGSZ[1] // stride) for stride, width in WIDTHS.items()
        }

    def head() -> Head:
        corners = torch.rand(batch, 20, 2, 2, generator=random, dtype=torch.float64) * 40
        corners[:, :, 1] += corners[:, :, 0] + 3
        return Head(normal(batch, nc, 20), corners.flatten(2).to(dtype).requires_grad_())

    return Context(
        teacher=maps(),
        student=maps(),
        boxes=boxes.to(dtype),
        box_image=box_image,
        imgsz=IMGSZ,
        teacher_head=head(),
        student_head=head(),
        target_scores=torch.rand(batch, 20, nc, generator=random).to(dtype),
        foreground=torch.rand(batch, 20, generator=random) > 0.5,
    )


def without_objects(context: Context) -> Context:
    return replace(
        context,
        boxes=context.boxes[:0],
        box_image=context.box_image[:0],
        target_scores=torch.zeros_like(context.target_scores),
        foreground=torch.zeros_like(context.foreground),
    )


def doubled(context: Context) -> Context:
    """The batch followed by itself."""

    def twice(x: Tensor) -> Tensor:
        return torch.cat([x, x])

    def heads(head: Head) -> Head:
        return Head(twice(head.scores), twice(head.boxes))

    return Context(
        teacher={stride: twice(x) for stride, x in context.teacher.items()},
        student={stride: twice(x) for stride, x in context.student.items()},
        boxes=twice(context.boxes),
        box_image=torch.cat([context.box_image, context.box_image + len(context.foreground)]),
        imgsz=context.imgsz,
        teacher_head=heads(context.teacher_head),
        student_head=heads(context.student_head),
        target_scores=twice(context.target_scores),
        foreground=twice(context.foreground),
    )


def mirrored(context: Context) -> Context:
    """The batch flipped left to right, boxes and all."""

    def boxes(x: Tensor) -> Tensor:
        x1, y1, x2, y2 = x.unbind(-1)
        return torch.stack([context.imgsz[1] - x2, y1, context.imgsz[1] - x1, y2], dim=-1)

    return replace(
        context,
        teacher={stride: x.flip(3) for stride, x in context.teacher.items()},
        student={stride: x.flip(3) for stride, x in context.student.items()},
        boxes=boxes(context.boxes),
        teacher_head=Head(context.teacher_head.scores, boxes(context.teacher_head.boxes)),
        student_head=Head(context.student_head.scores, boxes(context.student_head.boxes)),
    )


def reordered(context: Context) -> Context:
    """The same ground truth in another order."""
    order = torch.arange(len(context.boxes)).flip(0)
    return replace(context, boxes=context.boxes[order], box_image=context.box_image[order])


def student_tensors(context: Context) -> list[Tensor]:
    return [*context.student.values(), context.student_head.scores, context.student_head.boxes]


def teacher_tensors(context: Context) -> list[Tensor]:
    return [*context.teacher.values(), context.teacher_head.scores, context.teacher_head.boxes]
