"""A teacher as a distillation runs it: a copy that is never trained, rewritten to cost less and predict the same."""

import copy

import torch

from rdrkd.models.packed import pack
from rdrkd.ultralytics_adapter import DetectionModel


def frozen(model: DetectionModel) -> DetectionModel:
    """Return a copy of a detector in eval mode, without gradients and with its normalisation folded in.

    The convolutions take over what batch normalisation multiplies and adds, their weights lie channels-last, and on a
    CPU each runs as one operation with its activation (`rdrkd.models.packed`); all three change the predictions by
    rounding alone. The head keeps both of its branches, where Ultralytics' `fuse` drops the one that is not deployed: a
    student may need either.
    """
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    head = twin.model[-1]
    head.fuse = _keep  # shadows the method that drops a branch
    try:
        twin.fuse(verbose=False)
    finally:
        del head.fuse
    return pack(twin.requires_grad_(False).to(memory_format=torch.channels_last))


def _keep() -> None:
    """Do nothing."""
