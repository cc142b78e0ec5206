"""Responsive distillation: imitate the teacher's class scores, one binary problem each, and its boxes.

Source: RDR-KD (IEEE GRSL 2024, 10.1109/LGRS.2024.3398140), section II-C, Eq. 9-10, in the form of BCKD
(arXiv 2308.14286), which it follows. For A anchors and nc classes:

    l^s, l^t   class logits of student and teacher  student, teacher  (B, nc, A)
    p_s, p_t   their sigmoids, the paper's l'
    bbox_i     decoded boxes, xyxy px               student, teacher  (B, A, 4)
    w_i        weight of an anchor's box loss       weight            (B, A)
    norm       what the batch's sums are divided by scalar

The paper's "PEIoU" is read as a script L: Eq. 10 sums a loss, Efficient IoU (`rdrkd.boxes.eiou_loss`).
"""

from typing import Literal

import torch
from torch import Tensor

from rdrkd.boxes import eiou_loss
from rdrkd.losses.context import Branch, Context, Output
from rdrkd.losses.focal import class_loss, disagreement, normalizer
from rdrkd.spec.losses import Responsive


def box_loss(
    student: Tensor, teacher: Tensor, weight: Tensor, norm: Tensor | float, focal_eiou: bool = False
) -> Tensor:
    """L_loc: scalar, the sum over images and anchors of `eiou_loss` of boxes (B, A, 4), times (B, A), over `norm`."""
    # Eq. 10
    return (weight * eiou_loss(student, teacher.detach(), focal_eiou)).sum() / norm


def anchor_weight(student: Tensor, teacher: Tensor, kind: Literal["bckd", "none", "teacher_score"]) -> Tensor:
    """w_i (B, A) for class logits (B, nc, A), without gradient: max_j |p_t - p_s|, 1, or max_j p_t."""
    if kind == "bckd":
        return disagreement(student, teacher)
    p_t = teacher.detach().sigmoid()
    return p_t.amax(1) if kind == "teacher_score" else torch.ones_like(p_t[:, 0])


def responsive_term(term: Responsive, context: Context) -> Output:
    """class_weight x L_cls + box_weight x L_loc over all anchors of all levels, over the heads' branches."""

    def parts(branch: Branch) -> dict[str, Tensor]:
        teacher, student = branch.heads()
        norm = normalizer(term.normalizer, branch.target_scores, branch.foreground)
        weight = anchor_weight(student.scores, teacher.scores, term.loc_weight)
        return {
            "class": term.class_weight * class_loss(student.scores, teacher.scores, norm, term.gamma),
            "box": term.box_weight * box_loss(student.boxes, teacher.boxes, weight, norm, term.focal_eiou),
        }

    return Output.over_branches(context, parts)
