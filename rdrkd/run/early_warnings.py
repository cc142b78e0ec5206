"""Warnings from a training's settings and dataset, before the first step rather than after hours of training."""

from collections.abc import Iterator
from math import sqrt

import torch

from rdrkd import run_warnings
from rdrkd.data import Dataset, yolo
from rdrkd.data.images import quiet_decoders, size_of
from rdrkd.events import Warn
from rdrkd.spec import TrainSettings
from rdrkd.training.precision import dtype_of, slowdown

_SAMPLED = 200  # images, spread evenly over the training set


def warnings_of(settings: TrainSettings, dataset: Dataset, device: str, random_start: bool = False) -> Iterator[Warn]:
    """Yield warnings about a training.

    Args:
        settings: of the training.
        dataset: the training images are sampled, and their sizes read.
        device: such as `cpu` or `0`.
        random_start: whether the network starts with random weights.
    """
    images = dataset.images("train")
    used = max(1, round(len(images) * settings.fraction))
    yield from run_warnings.of_settings(settings.epochs, settings.warmup_epochs, settings.batch, used)
    if random_start:
        yield from run_warnings.of_steps(settings.epochs, settings.batch, settings.nbs, used)
    yield from run_warnings.of_sizes(_sides(dataset), settings.imgsz)
    cpu = torch.device("cpu")
    if device == cpu.type and isinstance(settings.amp, str):
        dtype = dtype_of(settings.amp, cpu)
        assert dtype is not None
        yield from run_warnings.of_precision(settings.amp, slowdown(dtype, cpu))


def _sides(dataset: Dataset) -> list[float]:
    """Return the side of each object in a sample of images, as a fraction of the longer side of its image."""
    images = dataset.images("train")
    found = []
    for file in images[:: -(-len(images) // _SAMPLED)]:
        with quiet_decoders():
            width, height = size_of(file)
        labels = yolo.read_file(dataset.label(file), width, height, len(dataset.names), file.name)
        found += [sqrt(box.width * box.height) / max(width, height) for box in labels.boxes]
    return found
