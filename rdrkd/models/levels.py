"""Where in a network the compared feature maps are: found from the model, never hard-coded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch

from rdrkd.errors import PairError
from rdrkd.ultralytics_adapter import DetectionModel

Layers = Literal["fpn", "backbone"]
Tap = tuple[Layers, int]  # which map, and its stride
_PROBE = 256  # side of the image that probes the network, px


class Level(NamedTuple):
    """A feature map: the index of the layer that makes it, and its channels."""

    layer: int
    channels: int


def find(model: DetectionModel, layers: Layers) -> dict[int, Level]:
    """Give each stride's map (the paper's Layers 1-4 have strides 4, 8, 16, 32).

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
    """Shape of every layer's output map, by a dry run."""
    shapes: dict[int, torch.Size] = {}

    def note(index: int) -> Any:
        def hook(_module: object, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                shapes[index] = output.shape

        return hook

    handles = [layer.register_forward_hook(note(index)) for index, layer in enumerate(model.model)]
    mode, parameter = model.training, next(model.parameters())
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, _PROBE, _PROBE, device=parameter.device, dtype=parameter.dtype))
    finally:
        model.train(mode)
        for handle in handles:
            handle.remove()
    return shapes


def levels_of(model: DetectionModel, taps: list[Tap], role: str) -> dict[Tap, Level]:
    """Give the level of each tap.

    Raises:
        PairError: the model has no map of that stride.
    """
    found = {layers: find(model, layers) for layers in {layers for layers, _stride in taps}}
    for layers, stride in taps:
        if stride not in found[layers]:
            raise PairError(f"expected a {layers} map of stride {stride} in the {role}, got {sorted(found[layers])}")
    return {(layers, stride): found[layers][stride] for layers, stride in taps}


@contextmanager
def captured(model: DetectionModel, levels: Mapping[Tap, Level]) -> Iterator[dict[Tap, torch.Tensor]]:
    """Collect the maps of some levels while the body runs the model; nothing stays hooked, nothing stays referenced."""
    maps: dict[Tap, torch.Tensor] = {}

    def keep(tap: Tap) -> Any:
        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            maps[tap] = output

        return hook

    handles = [model.model[level.layer].register_forward_hook(keep(tap)) for tap, level in levels.items()]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
