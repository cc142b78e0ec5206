"""Find the feature maps to compare from the model itself, never hard-coded, and run a forward pass that returns them.

The pass uses no hooks: torch.compile and copies lose them, and a term whose hook is lost is inert.
"""

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rdrkd.errors import PairError
from rdrkd.models.head_split import predict, undecoded
from rdrkd.ultralytics_adapter import DetectionModel

Layers = Literal["fpn", "backbone"]
Tap = tuple[Layers, int]  # which map, and its stride
_PROBE = 256  # side of the image that probes the network, px


class Level(NamedTuple):
    """A feature map: the index of the layer that makes it, and its channels."""

    layer: int
    channels: int


def forward(
    model: DetectionModel,
    images: Tensor,
    layers: Collection[int] = (),
    split: int | None = None,
    decode: bool = True,
) -> tuple[Any, dict[int, Tensor]]:
    """Run a model on images (B, 3, H, W); return its output, and the output maps of some layers by layer index.

    With a `split` the Detect head runs in two halves (`rdrkd.models.head_split`): the output is its raw predictions in
    either mode, each branch with the maps between the halves under `hidden`. Without `decode` it is also the
    raw predictions, and a head in eval mode does not turn them into boxes and scores.
    """
    x: Any = images
    outputs: list[Any] = []
    for layer in model.model:
        if isinstance(layer.f, int):
            x = x if layer.f == -1 else outputs[layer.f]
        else:
            x = [x if index == -1 else outputs[index] for index in layer.f]
        if layer is not model.model[-1] or (split is None and decode):
            x = layer(x)
        else:
            x = undecoded(layer, x) if split is None else predict(layer, x, split)
        outputs.append(x if layer.i in model.save or layer.i in layers else None)
    return x, {index: outputs[index] for index in layers}


def find(model: DetectionModel, layers: Layers) -> dict[int, Level]:
    """Return each stride's map (the paper's Layers 1-4 have strides 4, 8, 16, 32).

    `fpn`: the Detect head's inputs and, where they start at stride 8, the backbone's last map before it leaves
    stride 4 (YOLOv8, YOLO11, YOLO26: layer 2; a `-p2` model's head has a stride-4 input of its own).
    `backbone`: the last backbone layer of each stride (YOLOv8: 2, 4, 6, 9).
    """
    shapes = _probe(model)
    backbone = range(len(model.yaml["backbone"]))
    stages = {_PROBE // shapes[i][-1]: Level(i, shapes[i][1]) for i in backbone if i in shapes}
    stages = {stride: level for stride, level in stages.items() if stride >= 4}
    if layers == "backbone":
        return stages
    head = {_PROBE // shapes[i][-1]: Level(i, shapes[i][1]) for i in model.model[-1].f}
    return head if 4 in head or 4 not in stages else {4: stages[4], **head}


def _probe(model: DetectionModel) -> dict[int, torch.Size]:
    """Return the shape of every layer's output map, from a dry run."""
    mode, parameter = model.training, next(model.parameters())
    image = torch.zeros(1, 3, _PROBE, _PROBE, device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.no_grad():
            _, maps = forward(model.eval(), image, range(len(model.model)))
    finally:
        model.train(mode)
    return {index: x.shape for index, x in maps.items() if isinstance(x, Tensor)}


def levels_of(model: DetectionModel, taps: list[Tap], role: str) -> dict[Tap, Level]:
    """Return the level of each tap.

    Raises:
        PairError: the model has no map of that stride.
    """
    found = {layers: find(model, layers) for layers in {layers for layers, _stride in taps}}
    for layers, stride in taps:
        if stride not in found[layers]:
            raise PairError(f"expected a {layers} map of stride {stride} in the {role}, got {sorted(found[layers])}")
    return {(layers, stride): found[layers][stride] for layers, stride in taps}
