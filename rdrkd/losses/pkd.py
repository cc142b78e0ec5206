"""Pearson distillation (PKD): correlate each channel of the student's map with the teacher's.

Source: Cao et al., NeurIPS 2022, arXiv 2207.02039. Per level, over a batch of B images and n = B H W cells:

    F^t, F^s   teacher map, aligned student map                      teacher, student  (B, C, H, W)
    F^         (F - mean) / (deviation + eps), per channel over n    normalised        (B, C, H, W)
    r_c        correlation of channel c of F^t and F^s

    L = mean (F^^t - F^^s)^2 / 2 = (n - 1) / n mean_c (1 - r_c)

The mean is over images, channels and cells, so that a level's loss lies in 0..2 whatever the maps. As in the official
code the deviation is divided by n - 1, hence the factor; it is 1 to a tenth of a percent on real maps. A scale above 0
and a shift of a channel change nothing: an adapter of the term's own has no bias. The batch is that of one device.

The official eps of 1e-6 gives a constant channel a gradient of order 1e6; the default is larger.
"""

import torch
from torch import Tensor

from rdrkd.losses.context import Context, Output, level_name
from rdrkd.spec.losses import Pkd


def normalised(x: Tensor, eps: float) -> Tensor:
    """F^ (B, C, H, W): each channel of a map brought to mean 0 and deviation 1 over images and cells."""
    several = x[:, 0].numel() > 1  # one cell deviates from nothing, and must not divide by zero
    deviation, mean = torch.std_mean(x, (0, 2, 3), correction=int(several), keepdim=True)
    return (x - mean) / (deviation + eps)


def pearson_loss(teacher: Tensor, student: Tensor, eps: float = 1e-4) -> Tensor:
    """L of one level for maps (B, C, H, W): scalar, half the mean over images, channels and cells."""
    return (normalised(teacher.detach(), eps) - normalised(student, eps)).square().mean() / 2


def pkd_term(term: Pkd, context: Context) -> Output:
    """Sum of the levels' losses."""
    levels = {level_name(stride): pearson_loss(*context.maps(stride), term.eps) for stride in term.levels}
    return Output.of(levels)
