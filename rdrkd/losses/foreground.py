"""The foreground anchors' class logits, for losses that assume one true class per sample.

Such a loss compares softmax scores of samples with a class each. A YOLO head has independent sigmoids, many classes an
anchor and no background; it is read as follows. The samples are the n anchors that the student's assigner made
responsible for an object, y is that object's class, and the softmax is over the C class logits as they are. Of the
background nothing is taught. One class alone leaves a softmax nothing to compare, unless a constant logit of 0 is
appended, with which softmax([z, 0]) = sigmoid(z).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rdrkd.losses.context import Branch
from rdrkd.spec.losses import ClassTerm


class Foreground(NamedTuple):
    """The n foreground anchors of a branch.

    Attributes:
        student, teacher: (n, C) class logits, the constant one included.
        labels: (n,) class y of each anchor's object, long.
        share: (n,) weight of each anchor; sums to 1, or to less if the assigned scores sum to less.
    """

    student: Tensor
    teacher: Tensor
    labels: Tensor
    share: Tensor


def foreground_of(branch: Branch, term: ClassTerm) -> Foreground:
    """Select the foreground anchors of a branch, with their weights.

    Raises:
        PairError: teacher and student differ in the number of classes or anchors.
    """
    heads = branch.heads()
    positive = branch.foreground
    teacher, student = (head.scores.transpose(1, 2)[positive] for head in heads)
    if term.constant_logit:
        teacher, student = (torch.cat([z, torch.zeros_like(z[:, :1])], dim=1) for z in (teacher, student))
    weight = branch.target_scores.sum(2)[positive]  # u_i, the alignment of each foreground anchor
    if term.anchor_weight == "none":
        weight = torch.ones_like(weight)
    return Foreground(student, teacher, branch.labels[positive], weight / weight.sum().clamp(min=1))


def target_and_rest(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Split logits (n, C) into those of the class y, (n,), and those of the other classes, (n, C - 1)."""
    others = torch.ones_like(z, dtype=torch.bool).scatter_(1, labels[:, None], False)
    return z.gather(1, labels[:, None]).squeeze(1), z[others].view(len(z), z.shape[1] - 1)
