"""Attention over the cells and over the channels of a map: where it is large.

The formulas are RDR-KD's Eq. 1-2, originally FGD's.
"""

import torch
from torch import Tensor


def spatial_attention(x: Tensor, temperature: float) -> Tensor:
    """A^s (B, 1, H, W) of a map (B, C, H, W); its mean over the cells is 1."""
    batch, _, height, width = x.shape
    energy = x.abs().mean(1).flatten(1)
    # Eq. 1
    attention = height * width * torch.softmax(energy / temperature, dim=1)
    return attention.view(batch, 1, height, width)


def channel_attention(x: Tensor, temperature: float) -> Tensor:
    """A^c (B, C, 1, 1) of a map (B, C, H, W); its mean over the channels is 1."""
    batch, channels, _, _ = x.shape
    energy = x.abs().mean((2, 3))
    # Eq. 2
    attention = channels * torch.softmax(energy / temperature, dim=1)
    return attention.view(batch, channels, 1, 1)
