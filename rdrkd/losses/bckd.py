"""BCKD: bridge the inconsistency of softmax distillation with sigmoid detectors, and weigh boxes by the disagreement.

Source: Yang et al., Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection, ICCV 2023,
arXiv 2308.14286. Each class is a binary problem of its own. For A anchors and nc classes, i over the anchors of the
batch, j over the classes:

    l^s, l^t   class logits of student and teacher  student, teacher  (B, nc, A)
    p_s, p_t   their sigmoids
    b^s, b^t   decoded boxes, xyxy px               student, teacher  (B, A, 4)
    w_i        max_j |p_t - p_s|, without gradient  weight            (B, A)
    n          what the batch's sums are divided by norm              scalar

    L = a sum_ij |p_t - p_s|^gamma BCE(p_s, p_t) / n + b sum_i w_i (1 - GIoU(b^t_i, b^s_i)) / n

n is the number of foreground anchors of the student's assigner, at least 1; the official code averages it over ranks,
here it is each rank's own, as the task loss's. The official code also leaves out the levels on which no anchor of the
batch is in the foreground (`empty_levels="skip"`), which the paper does not say; the default compares them, too. The
published weights a = 1 and b = 4 belong to a detector whose box loss weighs 2; Ultralytics' weighs 7.5.
"""

import torch
from torch import Tensor

from rdrkd.losses.context import Branch, Context, Output
from rdrkd.losses.focal import box_loss, class_loss, disagreement, normalizer
from rdrkd.spec.losses import Bckd


def on_assigned_levels(foreground: Tensor, anchors: dict[int, slice]) -> Tensor:
    """Mark the anchors (A,) bool of the levels on which any anchor of the batch is in the foreground (B, A)."""
    marked = torch.zeros_like(foreground[0])
    for level in anchors.values():
        marked[level] = foreground[:, level].any()
    return marked


def bckd_term(term: Bckd, context: Context) -> Output:
    """class_weight x class part + box_weight x box part over the anchors of all levels, over the heads' branches."""

    def parts(branch: Branch) -> dict[str, Tensor]:
        teacher, student = branch.heads()
        norm = normalizer(term.normalizer, branch.target_scores, branch.foreground)
        logits, boxes = (student.scores, teacher.scores), (student.boxes, teacher.boxes)
        if term.empty_levels == "skip":
            kept = on_assigned_levels(branch.foreground, context.anchors)
            logits, boxes = (logits[0][:, :, kept], logits[1][:, :, kept]), (boxes[0][:, kept], boxes[1][:, kept])
        return {
            "class": term.class_weight * class_loss(*logits, norm, term.gamma),
            "box": term.box_weight * box_loss(*boxes, disagreement(*logits), norm),
        }

    return Output.over_branches(context, parts)
