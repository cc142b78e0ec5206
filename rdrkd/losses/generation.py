"""The generation block that rebuilds a masked map, and how far it is off: MGD's, and so that of what followed it."""

from torch import Tensor, nn


def generation_block(channels: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, ReLU, convolution on maps (B, channels, H, W), which keep their size."""

    def convolution() -> nn.Conv2d:
        return nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    return nn.Sequential(convolution(), nn.ReLU(inplace=True), convolution())


def generative_loss(teacher: Tensor, rebuilt: Tensor) -> Tensor:
    """L of one level for maps (B, C, H, W): scalar, the mean over images of the sum over channels and cells."""
    return (teacher.detach() - rebuilt).square().sum((1, 2, 3)).mean()
