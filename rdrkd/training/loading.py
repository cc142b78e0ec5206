"""The images of a training as a function of seed, epoch and index alone.

Ultralytics draws order and augmentation from generators whose state carries over from epoch to epoch, one per loader
process. A resumed run would see other images; so would a baseline, if the method compared with it had drawn a number.
Here each epoch has its own order, each image in it its own seed, and mosaic draws from images of the current epoch. So
a resumed run sees the same images as an uninterrupted one, whether this process loads them or several loader processes
do (the same number as before: each has its own mosaic images).
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
    """Yields tickets, epoch x images + index, one epoch after another.

    Args:
        images: number of images.
        seed: the run's seed.
        shuffle: whether the order changes from epoch to epoch.
        rank, ranks: this process's share of each epoch, and the number of shares.

    Attributes:
        epoch: the next epoch; loader processes prefetch it.
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
        order = np.resize(order, len(self) * self.ranks)  # repeats the first images: equal shares
        yield from (int(epoch * self.images + index) for index in order[self.rank :: self.ranks])

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: Ultralytics calls this after the first images of the epoch have been requested."""


class Seeded(Dataset[dict[str, Any]]):
    """Ultralytics' training dataset, indexed by ticket: seeds the generators for each image.

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
        if name == "dataset" or name.startswith("__"):  # not set yet in a copy that is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def _begin(self, epoch: int) -> None:
        """Fill mosaic's buffer of recent images with a random sample for this epoch; cached images stay cached.

        With an empty buffer, each loader's first mosaics would repeat a single image four times. Sampled images are
        loaded when a mosaic needs them.
        """
        if self.dataset.cache == "ram":  # mosaic draws from all images
            return
        for index in self.dataset.buffer:
            self.dataset.ims[index] = None
        draw = np.random.default_rng((self.seed, epoch)).permutation(len(self))
        self.dataset.buffer[:] = draw[: max(0, self.dataset.max_buffer_length - 1)].tolist()


def seed_generators(*numbers: int) -> None:
    """Seed `random` and `numpy.random` from several numbers."""
    first, second = np.random.SeedSequence(numbers).generate_state(2)
    random.seed(int(first))
    np.random.seed(int(second))


def seed_everything(*numbers: int) -> None:
    """Seed every generator of this process, torch's on all devices too, from several numbers."""
    seed_generators(*numbers)
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


def training_loader(
    dataset: Seeded, order: EpochOrder, batch: int, workers: int, device: torch.device, drop_last: bool
) -> InfiniteDataLoader:
    """Return a loader of the order's images in batches, prefetched by `workers` processes if there are any.

    As in Ultralytics, `workers` is per rank, and at most a GPU's share of the cores.
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
        generator=torch.Generator().manual_seed(order.seed),  # seeds the loader processes; no image depends on it
    )
