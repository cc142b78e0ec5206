"""A look at what a training is about to do, for warnings that come too late once hours have passed."""

from collections.abc import Iterator
from math import sqrt

from rdrkd import doubts
from rdrkd.data import Dataset, yolo
from rdrkd.data.images import quiet_decoders, size_of
from rdrkd.events import Warn
from rdrkd.spec import TrainSettings

_LOOKED_AT = 200  # images, spread over all


def warnings_of(settings: TrainSettings, dataset: Dataset) -> Iterator[Warn]:
    """Yield what is wrong with training by these settings on a dataset."""
    images = dataset.images("train")
    used = max(1, round(len(images) * settings.fraction))
    yield from doubts.of_settings(settings.epochs, settings.warmup_epochs, settings.batch, used)
    yield from doubts.of_sizes(_sides(dataset), settings.imgsz)


def _sides(dataset: Dataset) -> list[float]:
    """Return the side of each object of some images as a share of the longer side of its image."""
    images = dataset.images("train")
    found = []
    for file in images[:: -(-len(images) // _LOOKED_AT)]:
        with quiet_decoders():
            width, height = size_of(file)
        labels = yolo.read_file(dataset.label(file), width, height, len(dataset.names), file.name)
        found += [sqrt(box.width * box.height) / max(width, height) for box in labels.boxes]
    return found
