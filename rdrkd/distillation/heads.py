"""The predictions of Detect heads in the form that the losses use."""

from collections.abc import Mapping
from typing import Any

from rdrkd.losses import Head
from rdrkd.ultralytics_adapter import DetectionModel, decode_boxes

BRANCHES = ("one2many", "one2one")


def common(teacher: Mapping[str, Any], student: Mapping[str, Any]) -> list[str]:
    """Return the names of the branches that both heads have.

    >>> common({"one2one": 1, "one2many": 2}, {"one2many": 3})
    ['one2many']
    """
    return [name for name in BRANCHES if name in teacher and name in student]


def head_of(prediction: Mapping[str, Any], model: DetectionModel) -> Head:
    """Return the predictions of a branch of a model's head, in fp32, from its raw predictions and `feats`."""
    logits = prediction["boxes"].float()  # (B, 4R, A)
    batch, width, count = logits.shape
    sides = logits.view(batch, 4, width // 4, count).permute(0, 3, 1, 2) if width > 4 else None
    return Head(prediction["scores"].float(), decode_boxes(prediction, model.stride.to(logits.device)), sides)
