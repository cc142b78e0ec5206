"""Common parts of the losses on sigmoid scores: each class is a binary problem, weighted by the disagreement.

Source: BCKD (arXiv 2308.14286); CrossKD (arXiv 2306.11369) has the same with gamma 1, as a quality focal loss towards
the teacher's scores. For A anchors and nc classes:

    l^s, l^t   class logits of student and teacher  student, teacher  (B, nc, A)
    p_s, p_t   their sigmoids
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rdrkd.boxes import giou_loss


def focal_loss(student: Tensor, teacher: Tensor, gamma: float = 1.0) -> Tensor:
    """|p_t - p_s|^gamma x BCE(p_s, p_t) of class logits of any one shape; that shape, not reduced.

    0 where p_s = p_t. The focal factor carries its gradient, as in the official codes; at gamma 1 the minimum is a
    kink.
    """
    p_s, p_t = student.sigmoid(), teacher.detach().sigmoid()
    # Below 1 the power has no finite slope at 0; the clamp ends it there, and is far below what fp32 tells apart.
    factor = (p_t - p_s).abs().clamp(min=torch.finfo(p_s.dtype).tiny).pow(gamma)
    return factor * binary_cross_entropy_with_logits(student, p_t, reduction="none")


def disagreement(student: Tensor, teacher: Tensor) -> Tensor:
    """max_j |p_t - p_s| (B, A) of class logits (B, nc, A), without gradient: BCKD's weight of an anchor's box."""
    return (teacher.detach().sigmoid() - student.detach().sigmoid()).abs().amax(1)


def class_loss(student: Tensor, teacher: Tensor, norm: Tensor | float, gamma: float = 1.0) -> Tensor:
    """Scalar, the sum over images, classes and anchors of `focal_loss` of logits (B, nc, A), over `norm`."""
    # Eq. 9
    return focal_loss(student, teacher, gamma).sum() / norm


def box_loss(student: Tensor, teacher: Tensor, weight: Tensor, norm: Tensor | float) -> Tensor:
    """Scalar, the sum over images and anchors of `giou_loss` of boxes (B, A, 4), times (B, A), over `norm`."""
    return (weight * giou_loss(student, teacher.detach())).sum() / norm


def normalizer(
    kind: Literal["assigned", "positives", "image_sum", "batch_sum"], target_scores: Tensor, foreground: Tensor
) -> Tensor:
    """Return the divisor of the batch's sum, scalar.

    Args:
        kind: `assigned`: U, the sum of the assigned scores, as the task loss has it (at least 1); `positives`: the
            number of foreground anchors (at least 1); `image_sum`: B, the paper's plain sum per image; `batch_sum`: 1.
        target_scores: (B, A, nc) scores that the assigner set as class targets.
        foreground: (B, A) bool.
    """
    if kind == "assigned":
        return target_scores.sum().clamp(min=1)
    if kind == "positives":
        return foreground.sum().clamp(min=1)
    return target_scores.new_tensor(len(target_scores) if kind == "image_sum" else 1)
