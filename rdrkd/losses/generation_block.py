"""The generation block that rebuilds a masked map, and its loss: MGD's, which later methods use as well."""

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rdrkd.losses.context import Unaligned

Form = Literal["full", "half", "bottleneck", "separable"]
NARROWER = {"half": 2, "bottleneck": 4}  # factor by which a block is narrower than the map between its convolutions


def generation_block(channels: int, kernel: int = 3, form: Form = "full") -> nn.Sequential:
    """Return convolution, ReLU, convolution on maps (B, channels, H, W), which keep their size.

    `full` is MGD's block. The others replace it at a fraction of its cost: `half` and `bottleneck` are half and a
    quarter as wide between the convolutions (as much of the work), `separable` takes each convolution apart into one
    per channel and one across the channels (a ninth).
    """

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        if form != "separable":
            return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)]
        by_channel = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs)
        return [by_channel, nn.Conv2d(inputs, outputs, 1)]

    width = max(1, channels // NARROWER.get(form, 1))
    return nn.Sequential(*convolution(channels, width), nn.ReLU(inplace=True), *convolution(width, channels))


def rebuild(block: nn.Sequential, student: Tensor, mask: Tensor, before: Unaligned | None = None) -> Tensor:
    """Return `block(student * mask)` of a generation block for an aligned map (B, C_t, H, W) and a mask (B, 1, H, W).

    A mask of cells commutes with the adapter, so that adapter and first convolution are one on the narrower map:

        W * ((A x + c) m) = (W A) * (x m) + (W c) * m

    That form is taken where the product W A costs less than it saves, which the shapes alone decide.
    """
    first = cast(nn.Conv2d, block[0])
    if before is not None and _cheaper(first, before):
        hidden = _composed(first, before, mask)
    else:
        hidden = first(student * mask)
    rebuilt: Tensor = block[1:](hidden)
    return rebuilt


def _composed(layer: nn.Conv2d, before: Unaligned, mask: Tensor) -> Tensor:
    """Apply a convolution, composed with the adapter, to a masked map before that adapter."""
    with torch.autocast(mask.device.type, enabled=False):
        kernel = layer.weight.flatten(2)  # (O, C_t, K)
        narrow = (before.weight.t() @ kernel).unflatten(2, layer.kernel_size)
        shift = None if before.bias is None else (before.bias @ kernel).unflatten(1, layer.kernel_size)
    found = functional.conv2d(before.map * mask.to(before.map.dtype), narrow, layer.bias, padding=layer.padding)
    if shift is not None:
        found = found + functional.conv2d(mask, shift.unsqueeze(1), padding=layer.padding)
    return found


def _cheaper(layer: nn.Conv2d, before: Unaligned) -> bool:
    """Compare multiplications per element of the kernel and output channel; a small product runs at half the speed."""
    wide, narrow = before.weight.shape
    batch, _, height, width = before.map.shape
    return layer.groups == 1 and batch * height * width * (wide - narrow - 1) > 2 * wide * narrow


def generative_loss(teacher: Tensor, rebuilt: Tensor) -> Tensor:
    """L of one level for maps (B, C, H, W): scalar, the mean over images of the sum over channels and cells."""
    return (teacher.detach() - rebuilt).square().sum((1, 2, 3)).mean()
