"""Convolutions of a frozen network on a CPU: fused with their activation, from weights prepacked by oneDNN.

PyTorch passes oneDNN weights in its own layout, which oneDNN reorders in every pass, and sends single-threaded 1x1
convolutions to another library. This module calls the fused operation that PyTorch's own compiler uses, with the same
result. It has no gradient, so the plain convolution runs under gradients, autocast or torch.compile.
"""

from typing import Any

import torch
from torch import Tensor, nn

from rdrkd.ultralytics_adapter import Conv, DetectionModel

_ACTIVATIONS = {nn.SiLU: "swish", nn.Identity: "none"}


class _Weight:
    """A convolution's weight in oneDNN's layout, which depends on the input's shape; never copied or pickled."""

    def __init__(self) -> None:
        self._of: tuple[torch.Size, int, int] | None = None  # input shape, weight address and version
        self._tensor: Tensor | None = None

    def __deepcopy__(self, _memo: object) -> "_Weight":
        return _Weight()

    def __reduce__(self) -> tuple[type["_Weight"], tuple[()]]:
        return _Weight, ()

    def of(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """Return the packed weight for an input; pack again if the weight has changed or was loaded."""
        wanted = (x.shape, layer.weight.data_ptr(), layer.weight._version)
        if self._tensor is None or self._of != wanted:
            self._tensor = torch.ops.mkldnn._reorder_convolution_weight(
                layer.weight, layer.padding, layer.stride, layer.dilation, layer.groups, x.shape
            )
            self._of = wanted
        return self._tensor


class PackedConv2d(nn.Conv2d):
    """A convolution that runs from packed weights where possible."""

    packed: _Weight

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, (B, C, H, W)."""
        return _run(self, x, "none") if _usable(self, x) else super().forward(x)


class PackedConv(Conv):
    """Ultralytics' convolution with its activation; its normalisation has been folded into the weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and activate, (B, C, H, W)."""
        if _usable(self.conv, x):
            return _run(self.conv, x, _ACTIVATIONS[type(self.act)])
        activated: Tensor = self.act(self.conv(x))
        return activated


def pack(model: DetectionModel) -> DetectionModel:
    """Make each convolution of a frozen and fused model run as one operation, if the machine supports it."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return model
    for layer in list(model.modules()):
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            layer.__class__ = PackedConv2d
            layer.__dict__["packed"] = _Weight()
    for layer in model.modules():
        if type(layer).forward is Conv.forward and _whole(layer):
            layer.__dict__.pop("forward", None)  # left by `fuse`
            layer.__class__ = PackedConv
    return model


def _whole(layer: Any) -> bool:
    """Return whether a layer is just a packed convolution and an activation that the operation supports."""
    return not hasattr(layer, "bn") and type(layer.conv) is PackedConv2d and type(layer.act) in _ACTIVATIONS


def _usable(layer: nn.Conv2d, x: Tensor) -> bool:
    return (
        not torch.is_grad_enabled()
        and x.device.type == layer.weight.device.type == "cpu"
        and x.dtype == layer.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _run(layer: Any, x: Tensor, activation: str) -> Tensor:
    found: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, layer.packed.of(layer, x), layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups,
        activation, [], "",
    )  # fmt: skip
    return found
