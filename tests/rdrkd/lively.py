"""Networks that let something through: a fresh one in eval hardly does, since its statistics fit no image."""

import torch
from torch import nn

from rdrkd.ultralytics_adapter import DetectionModel


def lively(model: DetectionModel, side: int = 64) -> DetectionModel:
    """Give batch normalisation the statistics of one batch of noise, `side` px."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momentum = norms[0].momentum
    for norm in norms:
        norm.momentum = None  # a plain mean over batches, of which there is one
    with torch.no_grad():
        model.train()(torch.rand(4, 3, side, side))
    for norm in norms:
        norm.momentum = momentum
    return model.eval()
