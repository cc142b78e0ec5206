"""Channel-wise distillation (CWD): where each channel of the teacher's map is large, as a distribution over the cells.

Source: Shu et al., ICCV 2021, arXiv 2011.13256. Per level, over a batch of B images:

    F^t, F^s   teacher map, aligned student map      teacher, student  (B, C, H, W)
    T          temperature                           temperature

    L = T^2 / (B C) sum_{b,c} KL(softmax_hw(F^t / T) || softmax_hw(F^s / T))

The divergence is summed over the cells and averaged over images and channels. A constant added to a channel cancels,
so that an adapter's bias teaches nothing: one of the term's own has none.

A map of small variance is nearly uniform under the softmax and teaches next to nothing, which is why both maps are
first standardised per channel over the batch (of one device), as RTMDet's distillation does; the paper does without
(`normalize="none"`), under a larger weight. Its own T is 4, for segmentation; the published detectors have 1.
"""

import torch
from torch import Tensor

from rdrkd.losses.context import Context, Output, level_name
from rdrkd.spec.losses import Cwd


def standardised(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Bring each channel of a map (B, C, H, W) to mean 0 and variance 1 over images and cells.

    Batch normalisation without parameters and running statistics: the variance is divided by n = B H W.
    """
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    return (x - mean) * (variance + eps).rsqrt()


def channel_loss(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """L of one level for maps (B, C, H, W): scalar, summed over the cells, the mean over images and channels."""
    log_t = (teacher.detach().flatten(2) / temperature).log_softmax(2)
    log_s = (student.flatten(2) / temperature).log_softmax(2)
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(2).mean()


def cwd_term(term: Cwd, context: Context) -> Output:
    """Sum of the levels' losses."""
    levels: dict[str, Tensor] = {}
    for stride in term.levels:
        teacher, student = context.maps(stride)
        if term.normalize == "batch":
            teacher, student = standardised(teacher), standardised(student)
        levels[level_name(stride)] = channel_loss(teacher, student, term.temperature)
    return Output.of(levels)
