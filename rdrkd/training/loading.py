"""The images of a training as a function of seed, epoch and index alone.

Ultralytics draws order and augmentation from generators that go on from epoch to epoch, each loader process its own:
a resumed run would see other images, and so would the baseline that a method is compared with, had the method drawn a
number. Here each epoch has an order of its own, each image of it a seed of its own, and the images that mosaic draws
from are those of the present epoch. So a resumed run sees what an uninterrupted one sees, whether images are loaded in
this process or ahead of it in several others (as many as before: each has its own mosaic images).
"""

import math
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from rdrkd.ultralytics_adapter import InfiniteDataLoader


class EpochOrder(Sampler[int]):
    """Yields tickets, epoch x images + index, of one epoch after another.

    Args:
        images: how many there are.
        seed: of the run.
        shuffle: whether the order changes from epoch to epoch.
        rank, ranks: which share of each epoch this process takes, of how many.

    Attributes:
        epoch: the one that comes next; loader processes ask for it ahead of time.
    """

    def __init__(self, images: int, seed: int, shuffle: bool, rank: int = 0, ranks: int = 1) -> None:
        self.images, self.seed, self.shuffle, self.rank, self.ranks = images, seed, shuffle, rank, ranks
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.images / self.ranks)

    def __iter__(self) -> Iterator[int]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.arange(self.images)
        if self.shuffle:
            np.random.default_rng((self.seed, epoch)).shuffle(order)
        order = np.resize(order, len(self) * self.ranks)  # the first images again, so that all shares are of one size
        yield from (int(epoch * self.images + index) for index in order[self.rank :: self.ranks])

    def set_epoch(self, epoch: int) -> None:
        """Nothing: Ultralytics says it when the epoch begins, which is after its first images were asked for."""


class Seeded(Dataset[dict[str, Any]]):
    """Ultralytics' training dataset, asked by ticket: seeds the generators for each image.

    Args:
        dataset: a `YOLODataset`, which draws from `random` and `numpy.random`.
        seed: of the run.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self._epoch = -1

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, ticket: int) -> dict[str, Any]:
        epoch, index = divmod(ticket, len(self))
        if epoch != self._epoch:
            self._epoch = epoch
            self._begin(epoch)
        seed_generators(self.seed, epoch, index)
        item: dict[str, Any] = self.dataset[index]
        return item

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # before it is set: in an unpickled copy
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def _begin(self, epoch: int) -> None:
        """Fill mosaic's buffer of recently loaded images with a draw of the epoch's own; `cache` keeps what it holds.

        An empty one would make each loader's first mosaics of one and the same image, four times. The images of the
        draw are loaded when a mosaic asks for them.
        """
        if self.dataset.cache == "ram":  # mosaic draws from all images
            return
        for index in self.dataset.buffer:
            self.dataset.ims[index] = None
        draw = np.random.default_rng((self.seed, epoch)).permutation(len(self))
        self.dataset.buffer[:] = draw[: max(0, self.dataset.max_buffer_length - 1)].tolist()


def seed_generators(*numbers: int) -> None:
    """Seed `random` and `numpy.random` with a mix of some numbers."""
    first, second = np.random.SeedSequence(numbers).generate_state(2)
    random.seed(int(first))
    np.random.seed(int(second))


def seed_everything(*numbers: int) -> None:
    """Seed every generator of this process, torch's on all devices too, with a mix of some numbers."""
    seed_generators(*numbers)
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


def training_loader(
    dataset: Seeded, order: EpochOrder, batch: int, workers: int, device: torch.device, drop_last: bool
) -> InfiniteDataLoader:
    """Return a loader of the order's images in batches, loaded ahead by `workers` processes where there are any.

    As in Ultralytics `workers` is for each rank, and at most a GPU's share of the cores.
    """
    batch = min(batch, len(dataset))
    batches = max(len(order) // batch, 1)
    drop_last = drop_last and len(order) > batch
    devices = torch.cuda.device_count() if device.type == "cuda" else 1
    workers = min(workers, (os.cpu_count() or 1) // devices, batches if batches > 1 else 0)
    return InfiniteDataLoader(
        dataset=dataset,
        batch_size=batch,
        sampler=order,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
        collate_fn=dataset.collate_fn,
        drop_last=drop_last,
        generator=torch.Generator().manual_seed(order.seed),  # of the processes' own seeds, which nothing draws from
    )
