"""Collective operations of a training's ranks; in a single process they return their input.

Every rank must make every call, in the same order; otherwise the others wait forever.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


def world_size() -> int:
    """Return the number of ranks; 1 in a single process."""
    return dist.get_world_size() if _together() else 1


def total(values: Sequence[float]) -> list[float]:
    """Sum each value over the ranks, in fp64; NaN and infinities carry."""
    if not _together():
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(sums)
    found: list[float] = sums.tolist()
    return found


def mean(values: Sequence[float]) -> list[float]:
    """Average each value over the ranks."""
    return [value / world_size() for value in total(values)]


def differing(numbers: Tensor) -> list[int]:
    """Return the indices at which integers (N,) differ between ranks; the result is the same on all ranks."""
    if not _together():
        return []
    least, most = numbers.to(_device(), copy=True), numbers.to(_device(), copy=True)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    found: list[int] = (least != most).nonzero().flatten().tolist()
    return found


def from_first(value: T) -> T:
    """Return rank 0's value on every rank; it is pickled, which is safe between processes of one run."""
    if not _together():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _device() -> torch.device:
    """Return the device whose tensors the backend can send."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
