"""The generation block that rebuilds a masked map: MGD's, and so that of what followed it."""

from torch import nn


def generation_block(channels: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, ReLU, convolution on maps (B, channels, H, W), which keep their size."""

    def convolution() -> nn.Conv2d:
        return nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    return nn.Sequential(convolution(), nn.ReLU(inplace=True), convolution())
