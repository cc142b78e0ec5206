"""Ultralytics' built-in distillation: L2 between neck maps, each cell weighted by the teacher's confidence there.

Source: Ultralytics 8.4.190, `distill_model=`, `dis=` (documentation; no paper). Per level, over the whole batch:

    F^t, F^s   teacher map, aligned student map          teacher, student  (B, C, H, W)
    q          teacher's largest class probability       confidence        (B, H, W)

    L = sum_{b,h,w} q sum_c (F^t - F^s)^2 / (C sum_{b,h,w} q)
"""

from torch import Tensor

from rdrkd.losses.context import Context, Output, level_name
from rdrkd.spec.losses import Ultralytics

_EPS = 1e-9


def score_weighted_loss(teacher: Tensor, student: Tensor, confidence: Tensor) -> Tensor:
    """L of one level: scalar, for maps (B, C, H, W) and confidence (B, H, W)."""
    distance = (teacher.detach() - student).square().sum(1)
    confidence = confidence.detach()
    return (confidence * distance).sum() / (teacher.shape[1] * confidence.sum() + _EPS)


def ultralytics_term(term: Ultralytics, context: Context) -> Output:
    """Sum of the levels' losses."""
    confidence = context.teacher_scores.sigmoid().amax(1)  # (B, A)
    levels: dict[str, Tensor] = {}
    for stride in term.levels:
        teacher, student = context.maps(stride)
        cells = confidence[:, context.anchors[stride]].view(-1, *teacher.shape[2:])
        levels[level_name(stride)] = score_weighted_loss(teacher, student, cells)
    return Output.of(levels)
