"""The label assignment of a step: which anchors are responsible for an object, and with which target scores.

Ultralytics' task-aligned assigner ranks the anchors in an object by class score and overlap, both predicted by the
student. With `assignment: teacher`, the teacher's predictions rank them: label assignment distillation (LAD).

Source: Nguyen et al., "Improving Object Detection by Label Assignment Distillation", WACV 2022, arXiv 2108.10520.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rdrkd.distillation.heads import BRANCHES
from rdrkd.errors import PairError
from rdrkd.losses import Head
from rdrkd.ultralytics_adapter import DetectionModel

Assignment = tuple[Tensor, Tensor, Tensor]  # labels (B, A), target scores (B, A, nc), foreground (B, A)


@contextmanager
def assignments(student: DetectionModel, teacher: Mapping[str, Head]) -> Iterator[dict[str, Assignment]]:
    """Collect the results of the student's assigners by branch, so that they run only once.

    Args:
        student: the student, whose loss is computed within the block.
        teacher: the predictions that assign in place of the student's, by branch, for the student's anchors; the
            student assigns in the branches that are missing.
    """
    if getattr(student, "criterion", None) is None:
        student.criterion = student.init_criterion()
    found: dict[str, Assignment] = {}

    def keep(name: str) -> Any:
        def hook(_module: object, _inputs: object, output: tuple[Tensor, ...]) -> None:
            labels, _boxes, target_scores, foreground, _index = output
            found[name] = labels.long(), target_scores.float(), foreground.bool()

        return hook

    criteria = {name: getattr(student.criterion, name) for name in BRANCHES if hasattr(student.criterion, name)}
    criteria = criteria or {"one2many": student.criterion}
    handles = [each.assigner.register_forward_hook(keep(name)) for name, each in criteria.items()]
    handles += [criteria[name].assigner.register_forward_pre_hook(_by(head)) for name, head in teacher.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def check_levels(teacher: DetectionModel, student: DetectionModel) -> None:
    """Check that the teacher can assign labels to all of the student's anchors.

    Raises:
        PairError: the student predicts on a level that the teacher does not have.
    """
    missing = sorted({int(stride) for stride in student.stride} - {int(stride) for stride in teacher.stride})
    if missing:
        raise PairError(
            f"distillation.assignment: expected a teacher that predicts at the student's strides, got one without "
            f"stride {', '.join(map(str, missing))}"
        )


def on_levels(head: Head, anchors: Mapping[int, slice], strides: list[int]) -> Head:
    """Return a head's predictions for the anchors of some levels; `anchors` is the slice of each level by stride."""

    def chosen(x: Tensor, dim: int) -> Tensor:
        return torch.cat([x.movedim(dim, 0)[anchors[stride]] for stride in strides]).movedim(0, dim)

    return Head(chosen(head.scores, 2), chosen(head.boxes, 1))


def _by(head: Head) -> Any:
    """Return a hook that replaces the predictions among an assigner's arguments."""

    def hook(_module: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        scores, boxes, *others = inputs
        return head.scores.transpose(1, 2).sigmoid().to(scores.dtype), head.boxes.to(boxes.dtype), *others

    return hook
