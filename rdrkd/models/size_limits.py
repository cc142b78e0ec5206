"""Reject a checkpoint that declares more than a file of its size can hold, before anything is built from it.

A few bytes of configuration can ask for a billion layers, and a few dozen modules that share their children form a
tree with a billion paths. Building or walking either would exhaust the check's time limit.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from rdrkd.errors import ModelError

MOST_LAYERS = 1000  # entries of backbone and head together; the largest of Ultralytics' has 30 or so
MOST_MODULES = 100_000  # paths from the root of a module tree to its modules
LARGEST = 2**16  # of the integers in a configuration: channels, kernels, repeats
DEEPEST = 20  # nested values of a configuration


def check_configuration(cfg: Any, tensors: int) -> None:
    """Check that a configuration can describe a network with this many tensors.

    Raises:
        ModelError: it is not a configuration, or describes a network of another size.
    """
    if not isinstance(cfg, Mapping):
        raise ModelError(f"expected a model configuration, got {type(cfg).__name__}")
    layers = [entry for part in ("backbone", "head") for entry in _list(cfg.get(part), part)]
    if len(layers) > MOST_LAYERS:
        raise ModelError(f"expected a configuration of at most {MOST_LAYERS} layers, got {len(layers)}")
    for number in _whole_numbers({key: value for key, value in cfg.items() if key != "nc"}, 0):
        if abs(number) > LARGEST:
            raise ModelError(f"expected numbers of at most {LARGEST} in the configuration, got {_shown(number)}")
    repeats = sum(_repeats(entry, _depth(cfg)) for entry in layers)
    if repeats > tensors + len(layers):  # each repeat has at least one tensor
        raise ModelError(f"expected a configuration of {tensors} tensors, as the file has, got one of {repeats} layers")


def check_tree(root: nn.Module) -> None:
    """Check that a tree of modules can be walked.

    Raises:
        ModelError: it has too many paths, or a cycle.
    """
    paths: dict[int, int] = {}
    open_: set[int] = set()

    def count(module: nn.Module, depth: int) -> int:
        if id(module) in open_ or depth > MOST_LAYERS // 4:
            raise ModelError("expected a tree of modules, got one that leads back into itself or has no end")
        if id(module) not in paths:
            open_.add(id(module))
            children = [child for child in module._modules.values() if child is not None]
            paths[id(module)] = 1 + sum(count(child, depth + 1) for child in children)
            open_.remove(id(module))
        if paths[id(module)] > MOST_MODULES:
            raise ModelError(f"expected a model of at most {MOST_MODULES} modules, got more")
        return paths[id(module)]

    count(root, 0)


def _list(value: Any, part: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ModelError(f"expected a list of layers as the configuration's {part}, got {type(value).__name__}")
    return value


def _repeats(entry: Any, depth: float) -> int:
    if not isinstance(entry, list | tuple) or len(entry) != 4 or not isinstance(entry[1], int):
        raise ModelError("expected layers as [from, repeats, module, arguments] in the configuration, got another form")
    return max(round(entry[1] * depth), 1)


def _depth(cfg: Mapping[str, Any]) -> float:
    scales = cfg.get("scales")
    chosen = cfg.get("scale") or next(iter(scales), None) if isinstance(scales, Mapping) else None
    try:
        depth = scales[chosen][0] if scales and chosen is not None else cfg.get("depth_multiple", 1.0)
        depth = 1.0 if depth is None else float(depth)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise ModelError("expected a number as the configuration's depth, got another value") from error
    if not (math.isfinite(depth) and 0 <= depth <= LARGEST):
        raise ModelError(f"expected a depth from 0 to {LARGEST} in the configuration, got {depth}")
    return depth


def _whole_numbers(value: Any, depth: int) -> Iterator[int]:
    if depth > DEEPEST:
        raise ModelError(f"expected at most {DEEPEST} nested values in the configuration, got more")
    if isinstance(value, int):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _whole_numbers(inner, depth + 1)
    elif isinstance(value, list | tuple):
        if len(value) > MOST_LAYERS:
            raise ModelError(f"expected lists of at most {MOST_LAYERS} values in the configuration, got {len(value)}")
        for inner in value:
            yield from _whole_numbers(inner, depth + 1)


def _shown(number: int) -> str:
    return str(number) if abs(number) < 10**12 else f"one of {number.bit_length()} bits"
