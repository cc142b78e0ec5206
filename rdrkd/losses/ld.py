"""Localisation distillation (LD): the teacher's distribution over each side's distance as a soft target.

Source: Zheng et al., CVPR 2022, arXiv 2102.12252. For the n foreground anchors of the student's assigner:

    d^t, d^s   logits over the R distances of each side     teacher, student  (n, 4, R)
    T          temperature                                  temperature
    w_i        weight of an anchor                          weight            (n,)

    L = T^2 sum_i w_i sum_side KL(softmax(d^t / T) || softmax(d^s / T)) / (4 norm)

The official code averages the divergence over the R bins, which is 1/R of it, and divides by no sum of weights; here
the bins are summed and the norm is the task's, unless `bin_reduction` and `normalizer` say otherwise.
"""

from typing import Literal

import torch
from torch import Tensor

from rdrkd.losses.context import Branch, Context, Output
from rdrkd.spec.losses import Ld


def localization_loss(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    norm: Tensor | float,
    temperature: float = 10.0,
    bin_reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """L: scalar, for side logits (n, 4, R) and weights (n,); 0 with a graph where n is 0."""
    log_s = torch.log_softmax(student / temperature, dim=-1)
    log_t = torch.log_softmax(teacher.detach() / temperature, dim=-1)
    divergence = (log_t.exp() * (log_t - log_s)).sum((1, 2)) / 4
    if bin_reduction == "mean":
        divergence = divergence / student.shape[-1]
    return temperature**2 * (weight * divergence).sum() / norm


def ld_term(term: Ld, context: Context) -> Output:
    """L over the heads' branches."""

    def parts(branch: Branch) -> dict[str, Tensor]:
        teacher, student = branch.sides()
        positive = branch.foreground
        scores = branch.target_scores.sum(2)[positive]  # u_i, the alignment of each foreground anchor
        norm = (scores.sum() if term.normalizer == "assigned" else positive.sum()).clamp(min=1)
        weight = scores if term.anchor_weight == "assigned" else torch.ones_like(scores)
        loss = localization_loss(
            student[positive], teacher[positive], weight, norm, term.temperature, term.bin_reduction
        )
        return {"sides": loss}

    return Output.over_branches(context, parts)
