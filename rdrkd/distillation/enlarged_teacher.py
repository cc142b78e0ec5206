"""A teacher that sees the batch enlarged, so that objects of a few pixels cover more of its cells.

What it gives is resampled to the student's grid: maps and class logits as they are, boxes back in px of the student's
input. Side logits have no counterpart there, since they count in the teacher's strides.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from rdrkd.losses import Head
from rdrkd.models.levels import Tap

Size = tuple[int, int]  # height, width
_STRIDE = 32  # px: the largest of a network; its input's sides are multiples


def enlarged(side: int, scale: float) -> int:
    """Return the side of the teacher's input for that of the student's, px.

    >>> enlarged(256, 1.25), enlarged(64, 1.2)
    (320, 64)
    """
    return max(1, round(side * scale / _STRIDE)) * _STRIDE


def enlarge(images: Tensor, scale: float) -> Tensor:
    """Enlarge images (B, 3, H, W) in [0, 1] by `scale`, to multiples of 32 px; return them as they are at scale 1."""
    if scale == 1:
        return images
    height, width = (enlarged(side, scale) for side in images.shape[2:])
    return interpolate(images, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def resample(x: Tensor, size: Size) -> Tensor:
    """Resample a map (B, C, H, W) to another size, in fp32; a map of that size stays as it is."""
    return x if tuple(x.shape[2:]) == size else interpolate(x.float(), size, mode="bilinear", antialias=True)


def resample_maps(teacher: Mapping[Tap, Tensor], student: Mapping[Tap, Tensor]) -> dict[Tap, Tensor]:
    """Bring the teacher's maps to the sizes of the student's."""
    return {tap: resample(x, _size(student[tap])) for tap, x in teacher.items()}


def resample_head(head: Head, teacher: Mapping[str, Any], student: Mapping[str, Any], images: Size, seen: Size) -> Head:
    """Bring what the teacher's head predicts to the student's anchors.

    Args:
        head: the teacher's, boxes in px of its own input.
        teacher: the raw predictions of its head, for the sizes of their `feats`.
        student: likewise the student's.
        images: size of the student's input.
        seen: size of the teacher's.
    """
    sizes = [(_size(x), _size(y)) for x, y in zip(teacher["feats"], student["feats"], strict=True)]
    shrink = head.boxes.new_tensor([images[1] / seen[1], images[0] / seen[0]] * 2)
    boxes = _by_level((head.boxes * shrink).transpose(1, 2), sizes)
    return Head(_by_level(head.scores, sizes), boxes.transpose(1, 2))


def _by_level(values: Tensor, sizes: list[tuple[Size, Size]]) -> Tensor:
    """Resample values (B, C, A) level by level, from the first size of each pair to the second."""
    parts = values.split([height * width for (height, width), _ in sizes], dim=2)
    grids = (part.unflatten(2, size) for part, (size, _) in zip(parts, sizes, strict=True))
    return torch.cat([resample(grid, to).flatten(2) for grid, (_, to) in zip(grids, sizes, strict=True)], dim=2)


def _size(x: Tensor) -> Size:
    height, width = x.shape[2:]
    return height, width
