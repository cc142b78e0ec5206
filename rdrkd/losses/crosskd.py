"""CrossKD: pass the student's map inside the head through the rest of the teacher's head, and compare the outputs.

Source: Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object Detection, CVPR 2024, arXiv 2306.11369. The
student's own head is left to the task loss, which wants what the teacher does not always want. Per level, over a batch
of B images, i over its anchors, j over the classes:

    h^t, h^s    maps after convolution k of the two heads, before     teacher, student  (B, C, H, W)
                the activation; h^s already as wide as h^t
    h'          h^s with mean and deviation of h^t, per channel       aligned           (B, C, H, W)
    z', d'      logits of classes and distances that the rest of the  crossed           (B, nc, A), (B, A, 4, R)
                teacher's head makes of h'; b' the boxes
    z^t, d^t    the teacher's own; b^t the boxes                      teacher
    p', p_t     sigmoids of z', z^t
    v_i         max_j p_t, without gradient                           weight            (B, A)
    n           the foreground anchors, at least 1                    norm              scalar

    h' = (h^s - mean) / (deviation + eps) x deviation^t + mean^t
    L  = a sum_ij |p' - p_t|^gamma BCE(p', p_t) / n + box part
    box part = b T^2 sum_i v_i sum_side KL(softmax(d^t / T) || softmax(d' / T)) / (4 sum_i v_i)      `kl`
             = c sum_i v_i (1 - GIoU(b^t_i, b'_i)) / n                                              `giou`

`kl` is GFL's form, for a teacher that predicts distributions; `giou` that of RetinaNet and ATSS, which a teacher with
reg_max 1 (YOLO26) needs. Deviations are divided by one less than the B H W cells, as in the official code. There eps
is 1e-6, which gives a constant channel a gradient of order 1e6; the default is larger. sum v is at least 1 here, so
that a teacher that sees nothing teaches little; the official code divides by it as it is. n is each rank's own.

The paper cuts after convolution 3 of 4; a YOLO branch has two before its last layer, and is cut after the first. The
two heads of one width need no mapper; elsewhere a 1x1 convolution, trained with the student, comes before h'.
"""

from dataclasses import replace

import torch
from torch import Tensor

from rdrkd.losses.context import Branch, Context, Head, Output
from rdrkd.losses.focal import box_loss, class_loss, normalizer
from rdrkd.spec.losses import Crosskd


def align_scale(teacher: Tensor, student: Tensor, eps: float = 1e-4) -> Tensor:
    """Return h' (B, C, H, W): a student map with the teacher's mean and deviation of each channel."""
    correction = int(teacher[:, 0].numel() > 1)  # one cell deviates from nothing, and must not divide by zero
    deviation_t, mean_t = torch.std_mean(teacher.detach(), (0, 2, 3), correction=correction, keepdim=True)
    deviation_s, mean_s = torch.std_mean(student, (0, 2, 3), correction=correction, keepdim=True)
    return (student - mean_s) / (deviation_s + eps) * deviation_t + mean_t


def distribution_loss(
    crossed: Tensor, teacher: Tensor, weight: Tensor, norm: Tensor | float, temperature: float = 1.0
) -> Tensor:
    """Scalar, the divergence of side logits (B, A, 4, R): bins summed, sides averaged, times (B, A), over `norm`."""
    log_s = torch.log_softmax(crossed / temperature, dim=-1)
    log_t = torch.log_softmax(teacher.detach() / temperature, dim=-1)
    divergence = (log_t.exp() * (log_t - log_s)).sum((2, 3)) / 4
    return temperature**2 * (weight * divergence).sum() / norm


def crosskd_term(term: Crosskd, context: Context) -> Output:
    """Class part + box part of the cross-head predictions, over the heads' branches."""

    def parts(branch: Branch) -> dict[str, Tensor]:
        teacher, crossed = branch.teacher, _crossed(term, branch, context)
        norm = normalizer(term.normalizer, branch.target_scores, branch.foreground)
        weight = teacher.scores.sigmoid().amax(1)
        if term.box_loss == "giou" or (term.box_loss == "auto" and teacher.sides is None):
            box = term.giou_weight * box_loss(crossed.boxes, teacher.boxes, weight, norm)
        else:
            sides = replace(branch, student=crossed).sides()
            given = sides[1], sides[0], weight, weight.sum().clamp(min=1)
            box = term.kl_weight * distribution_loss(*given, term.temperature)
        return {"class": term.class_weight * class_loss(crossed.scores, teacher.scores, norm, term.gamma), "box": box}

    return Output.over_branches(context, parts)


def _crossed(term: Crosskd, branch: Branch, context: Context) -> Head:
    """Return the teacher head's predictions from the student's map."""
    cross = branch.crossing()
    hidden = cross.teacher.joined(cross.student, lambda t, s: align_scale(t, s, term.eps) if term.align_scale else s)
    with context.autocast():
        crossed = cross.rest(hidden)
    return crossed.mapped(lambda x: x.to(branch.teacher.scores.dtype))
