"""Checkpoints that declare more than they hold are refused at once, in the user's terms."""

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rdrkd.errors import ModelError
from rdrkd.models import load_weights
from rdrkd.models.size_limits import check_configuration, check_tree
from rdrkd.spec import ARCHITECTURES
from rdrkd.ultralytics_adapter import DetectionModel

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def network() -> DetectionModel:
    model = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    model.names = {0: "car", 1: "person", 2: "bus"}
    return model


def _layer(number: int, place: int, value: Any) -> Change:
    return lambda cfg: cfg["backbone"][number].__setitem__(place, value)


ABSURD: dict[str, Change] = {
    "a billion repeats": _layer(0, 1, 10**9),
    "a billion repeats of a block": _layer(2, 1, 10**9),
    "repeats within bounds, again and again": lambda cfg: [_layer(n, 1, 50_000)(cfg) for n in range(9)],
    "a depth that makes them many": lambda cfg: cfg.update(scales={"n": [1e6, 0.25, 1024]}),
    "a depth that is no number": lambda cfg: cfg.update(scales={"n": [float("nan"), 0.25, 1024]}),
    "no depth": lambda cfg: cfg.update(scales={"n": []}),
    "a million layers that are one": lambda cfg: cfg.update(head=[cfg["head"][0]] * 10**6),
    "a billion channels": _layer(1, 3, [10**9, 3, 2]),
    "a number of a thousand digits": _layer(1, 3, [10**1000, 3, 2]),
    "boxes of a billion bins": lambda cfg: cfg.update(reg_max=10**9),
    "arguments without end": _layer(1, 3, [1] * 10**6),
    "no layers": lambda cfg: cfg.pop("backbone"),
    "layers of another form": _layer(1, 1, "many"),
}


@pytest.mark.parametrize("which", ABSURD)
def test_an_absurd_configuration_is_refused_before_it_is_built(
    network: DetectionModel, tmp_path: Path, which: str
) -> None:
    model = copy.deepcopy(network)
    ABSURD[which](model.yaml)
    torch.save({"model": model}, tmp_path / "x.pt")
    began = time.process_time()

    with pytest.raises(ModelError, match="expected"):
        load_weights(tmp_path / "x.pt")

    assert time.process_time() - began < 20  # of which importing and reading take most


def test_modules_that_share_their_children_are_not_walked(network: DetectionModel, tmp_path: Path) -> None:
    model = copy.deepcopy(network)
    below: list[nn.Module] = [nn.Identity(), nn.Identity()]
    for _ in range(40):
        below = [nn.Sequential(*below), nn.Sequential(*below)]
    model.model[0].add_module("more", below[0])  # 2**40 paths, 80 modules
    with pytest.raises(ModelError, match="modules"):
        check_tree(model)


def test_a_tree_that_leads_back_into_itself_has_no_end() -> None:
    module = nn.Sequential(nn.Identity())
    module.add_module("again", module)
    with pytest.raises(ModelError, match="itself"):
        check_tree(module)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "yolov8x-p2", "yolo11x", "yolo26x", "yolov8n-half"])
def test_what_ultralytics_has_is_plausible(name: str) -> None:
    from rdrkd.models.architectures import build

    assert name in ARCHITECTURES
    model = build(name, ["car"])
    check_tree(model)
    check_configuration(model.yaml, len(model.state_dict()))
