"""The frozen teacher of a distillation: a copy that is never trained, optimised without changing its predictions."""

import copy

import torch

from rdrkd.models.packed import pack
from rdrkd.ultralytics_adapter import DetectionModel


def frozen(model: DetectionModel) -> DetectionModel:
    """Return a copy of a detector in eval mode, without gradients and with its normalisation folded in.

    Batch normalisation is folded into the convolutions, their weights are stored channels-last, and on a CPU each
    convolution runs as one operation with its activation (`rdrkd.models.packed`); all three change the predictions by
    rounding only. The head keeps both of its branches, where Ultralytics' `fuse` drops the one that is not deployed: a
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
