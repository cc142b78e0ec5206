"""Networks by name, from the allow-list of the job spec."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch

from rdrkd.errors import ModelError
from rdrkd.spec import ARCHITECTURES
from rdrkd.spec.references import NARROW
from rdrkd.ultralytics_adapter import DetectionModel, yaml_model_load

_NARROW_SCALE = [0.33, 0.125, 1024]  # depth, width, most channels: YOLOv8n at half its width


def configuration(name: str) -> dict[str, Any]:
    """Return Ultralytics' model configuration of an architecture.

    Raises:
        ModelError: the name is not on the allow-list.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"expected an architecture of {', '.join(ARCHITECTURES)}, got {name!r}")
    if name == NARROW:
        cfg = yaml_model_load("yolov8n.yaml")
        cfg["scales"] = {**cfg["scales"], "n": list(_NARROW_SCALE)}
        cfg["yaml_file"] = f"{name}.yaml"
        return dict(cfg)
    return dict(yaml_model_load(f"{name}.yaml"))


def build(cfg: str | Mapping[str, Any], names: Sequence[str]) -> DetectionModel:
    """Build a detection model with random weights.

    Args:
        cfg: an architecture's name, or a configuration as a checkpoint carries it.
        names: class names in order.

    Raises:
        ModelError: the name is unknown, or the configuration is invalid.
    """
    config = {**(configuration(cfg) if isinstance(cfg, str) else cfg), "nc": len(names)}
    try:
        with torch.random.fork_rng(devices=[]):  # building a model must not advance the caller's random generator
            model = DetectionModel(config, ch=3, nc=len(names), verbose=False)
    except Exception as error:
        raise ModelError(f"expected a model configuration that builds, got one that fails with: {error}") from error
    model.names = dict(enumerate(names))
    model.nc = len(names)
    return model


def name_of(model: DetectionModel) -> str | None:
    """Return the name of a model's architecture; None if it is not on the allow-list."""
    return _names().get(_fingerprint(model.yaml))


@cache
def _names() -> dict[tuple[Any, ...], str]:
    """Map each architecture's fingerprint to its name; cached, as every checkpoint needs it."""
    return {_fingerprint(configuration(name)): name for name in ARCHITECTURES}


def _fingerprint(cfg: Mapping[str, Any]) -> tuple[Any, ...]:
    scale = cfg.get("scale") or ""
    factors = (
        tuple(cfg["scales"][scale])
        if scale and "scales" in cfg
        else (cfg.get("depth_multiple"), cfg.get("width_multiple"))
    )
    layers = tuple(repr(layer) for layer in [*cfg["backbone"], *cfg["head"]])
    return factors, layers, cfg.get("reg_max"), cfg.get("end2end")
