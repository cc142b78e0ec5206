"""A teacher that sees the batch enlarged, so that objects of a few pixels cover more of its cells.

Its output is resampled to the grid of the student's input: maps and class logits unchanged, boxes in px of that input.
Side logits have no counterpart there, since they count in the teacher's strides.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from rdrkd.losses import Head
from rdrkd.models.levels import Tap

Size = tuple[int, int]  # height, width
_STRIDE = 32  # px: the largest of a network; the sides of its input are multiples


def enlarged(side: int, scale: float) -> int:
    """Return the side of the teacher's input, given that of the student's, px.

    >>> enlarged(256, 1.25), enlarged(64, 1.2)
    (320, 64)
    """
    return max(1, round(side * scale / _STRIDE)) * _STRIDE


def enlarge(images: Tensor, scale: float) -> Tensor:
    """Enlarge images (B, 3, H, W) in [0, 1] by `scale`, to multiples of 32 px; return them unchanged at scale 1."""
    if scale == 1:
        return images
    height, width = (enlarged(side, scale) for side in images.shape[2:])
    return interpolate(images, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def grid(images: Size, stride: int) -> Size:
    """Return the size of a level's map, given the size of the network's input."""
    height, width = images
    return height // stride, width // stride


def resample(x: Tensor, size: Size) -> Tensor:
    """Resample a map (B, C, H, W) to another size, in fp32; return one of that size unchanged."""
    return x if tuple(x.shape[2:]) == size else interpolate(x.float(), size, mode="bilinear", antialias=True)


def resample_maps(maps: Mapping[Tap, Tensor], images: Size) -> dict[Tap, Tensor]:
    """Resample the teacher's maps to the grids of an input of size `images`."""
    return {tap: resample(x, grid(images, tap[1])) for tap, x in maps.items()}


def resample_anchors(values: Tensor, sizes: Sequence[Size], grids: Sequence[Size]) -> Tensor:
    """Resample values of anchors (B, C, A), level by level, from one size to another."""
    parts = values.split([height * width for height, width in sizes], dim=2)
    maps = (part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True))
    return torch.cat([resample(x, to).flatten(2) for x, to in zip(maps, grids, strict=True)], dim=2)


def resample_head(head: Head, sizes: Sequence[Size], grids: Sequence[Size], images: Size, seen: Size) -> Head:
    """Resample a teacher's predictions to the anchors of the student's input.

    Args:
        head: the predictions, with boxes in px of the teacher's input.
        sizes: the size of each of its levels.
        grids: the size of each level for the student's input.
        images: the size of the student's input.
        seen: the size of the teacher's input.
    """
    shrink = head.boxes.new_tensor([images[1] / seen[1], images[0] / seen[0]] * 2)
    boxes = resample_anchors((head.boxes * shrink).transpose(1, 2), sizes, grids)
    return Head(resample_anchors(head.scores, sizes, grids), boxes.transpose(1, 2))
