"""What the losses on sigmoid scores have in common: the binary problem of each class, weighted by the disagreement.

Source: BCKD (arXiv 2308.14286); CrossKD (arXiv 2306.11369) has the same with gamma 1, as a quality focal loss towards
the teacher's scores. For A anchors and nc classes:

    l^s, l^t   class logits of student and teacher  student, teacher  (B, nc, A)
    p_s, p_t   their sigmoids
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


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
