"""Decoupled knowledge distillation (DKD) of class scores: the target's confidence, and the others among themselves.

Source: Zhao et al., CVPR 2022, arXiv 2203.08679. For the n foreground anchors, each with the class y of its object, and
softmax scores over the classes (`rdrkd.losses.foreground` says how a YOLO head has them):

    z^t, z^s   class logits                                   teacher, student  (n, C)
    b          (p_y, 1 - p_y)                                 target against the rest
    p^         softmax over the classes without y             the rest among themselves

    L = T^2 (alpha KL(b^t || b^s) + beta KL(p^^t || p^^s)) / n

In the published detectors, two-stage ones, the background is one of the classes; here there is none.
"""

import torch
from torch import Tensor

from rdrkd.losses.context import Branch, Context, Output
from rdrkd.losses.foreground import foreground_of, target_and_rest
from rdrkd.spec.losses import Dkd


def target_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(b^t || b^s) (n,) for logits (n, C) and labels (n,)."""
    if student.shape[1] == 1:  # 1 against 0 on both sides
        return 0 * student.squeeze(1)
    (_, *log_s), (_, *log_t) = (_split(z / temperature, labels) for z in (student, teacher.detach()))
    return torch.stack([t.exp() * (t - s) for s, t in zip(log_s, log_t, strict=True)]).sum(0)


def non_target_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(p^^t || p^^s) (n,) for logits (n, C) and labels (n,)."""
    (log_s, *_), (log_t, *_) = (_split(z / temperature, labels) for z in (student, teacher.detach()))
    return (log_t.exp() * (log_t - log_s)).sum(1)


def _split(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logs of p^ (n, C - 1), p_y (n,), 1 - p_y (n,)."""
    target, rest = target_and_rest(z, labels)
    whole = z.logsumexp(1)
    return rest.log_softmax(1), target - whole, rest.logsumexp(1) - whole


def dkd_term(term: Dkd, context: Context) -> Output:
    """Alpha x target part + beta x non-target part, over the heads' branches."""

    def parts(branch: Branch) -> dict[str, Tensor]:
        student, teacher, labels, share = foreground_of(branch, term)
        share = term.temperature**2 * share
        given = student, teacher, labels, term.temperature
        return {
            "target": term.alpha * (share * target_loss(*given)).sum(),
            "non_target": term.beta * (share * non_target_loss(*given)).sum(),
        }

    return Output.over_branches(context, parts)
