"""The deviation of a teacher map's channels: an L2 term weights each channel by its square."""

import torch
from torch import Tensor

_LEAST = 0.1  # of the map's mean deviation: a channel that hardly varies must not outweigh all others


def deviation(teacher: Tensor) -> Tensor:
    """Return each channel's standard deviation over the images and cells of a map (B, C, H, W), (1, C, 1, 1).

    Divided by it, all channels have equal weight in an L2 term, which is still 0 if the maps are equal.
    """
    teacher = teacher.detach()
    found = (teacher - teacher.mean((0, 2, 3), keepdim=True)).square().mean((0, 2, 3), keepdim=True).sqrt()
    return torch.maximum(found, _LEAST * found.mean()).clamp(min=torch.finfo(found.dtype).eps)
