"""The generation block that rebuilds a masked map, and how far it is off: MGD's, and so that of what followed it."""

from typing import Literal

from torch import Tensor, nn

Form = Literal["full", "bottleneck", "separable"]
NARROWER = 4  # how many times a bottleneck is narrower than the map


def generation_block(channels: int, kernel: int = 3, form: Form = "full") -> nn.Sequential:
    """Return convolution, ReLU, convolution on maps (B, channels, H, W), which keep their size.

    `full` is MGD's block. The other two stand for it at a fraction of its price: `bottleneck` is a quarter as wide
    between the convolutions (a quarter of the work), `separable` takes each convolution apart into one per channel and
    one across the channels (a ninth).
    """

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        if form != "separable":
            return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)]
        by_channel = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs)
        return [by_channel, nn.Conv2d(inputs, outputs, 1)]

    width = max(1, channels // NARROWER) if form == "bottleneck" else channels
    return nn.Sequential(*convolution(channels, width), nn.ReLU(inplace=True), *convolution(width, channels))


def generative_loss(teacher: Tensor, rebuilt: Tensor) -> Tensor:
    """L of one level for maps (B, C, H, W): scalar, the mean over images of the sum over channels and cells."""
    return (teacher.detach() - rebuilt).square().sum((1, 2, 3)).mean()
