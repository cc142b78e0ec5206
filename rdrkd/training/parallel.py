"""One student on several ranks: joining them, averaging gradients, and checking that their weights stay identical."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from rdrkd.collectives import differing
from rdrkd.errors import Problem, RankError, SpecError
from rdrkd.ultralytics_adapter import RANK, TORCH_2_13, unwrap_model

_PATIENCE = timedelta(hours=3)  # as in Ultralytics: rank 0 may be reading the labels of a large dataset


def check_batch(batch: int, ranks: int) -> None:
    """Refuse a total batch (images) that the ranks cannot share equally: their images would have different weights.

    Raises:
        SpecError: it is not a multiple of `ranks`.
    """
    if batch % ranks:
        detail = f"expected a multiple of the {ranks} devices, which share each batch, got {batch}"
        raise SpecError(f"train.batch: {detail}", [Problem("/train/batch", detail)])


def join_over_gloo(ranks: int) -> None:
    """Join the other ranks, found through the environment."""
    dist.init_process_group("gloo", rank=RANK, world_size=ranks, timeout=_PATIENCE)


def averaging(model: nn.Module) -> nn.Module:
    """Wrap a model on the CPU so that each backward pass averages the gradients of all ranks.

    A rank whose images hold no object leaves parameters unused. Buffers (batch normalisation's running means) are not
    shared, as in Ultralytics: rank 0's are validated and saved.
    """
    settings: dict[str, Any] = {"forward_sync_buffers" if TORCH_2_13 else "broadcast_buffers": False}
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True, **settings)


def check_same(model: nn.Module, epoch: int) -> None:
    """Compare the parameters of all ranks; every rank must call this.

    Args:
        model: the model in training, wrapped or not.
        epoch: the epoch just trained, 1-based.

    Raises:
        RankError: on all ranks, if a parameter is not bitwise identical on all of them.
    """
    names, parameters = zip(*unwrap_model(model).named_parameters(), strict=True)
    if strange := differing(fingerprints(parameters)):
        raise RankError(
            f"expected the same student on all ranks after epoch {epoch}, got {len(strange)} of {len(names)} "
            f"parameters that differ, first {names[strange[0]]}"
        )


def fingerprints(parameters: Iterable[Tensor]) -> Tensor:
    """Return one integer for each fp32 tensor, (N,): the sum of its values' bit patterns, independent of their order.

    >>> fingerprints([torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]), torch.tensor([1.0, 2.0000002])]).diff()
    tensor([0, 1])
    """
    return torch.stack([parameter.detach().float().view(torch.int32).sum() for parameter in parameters])
