"""Summarise a dataset, or its classes, in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

from rdrkd.figures import counted

_MOST_NAMES = 10


def summary(names: Sequence[str], statistics: Mapping[str, Any]) -> str:
    """Return the numbers of a dataset's images by split, of its objects and of its classes, with the first classes.

    Args:
        names: class names by class number.
        statistics: those of the dataset's check.

    >>> splits = {"train": {"images": 48}, "val": {"images": 16}}
    >>> summary(["person", "car"], {"splits": splits, "boxes": 822})
    '48 train and 16 val images, 822 objects, 2 classes (person, car)'
    """
    *others, last = (f"{split['images']} {name}" for name, split in statistics["splits"].items())
    images = f"{', '.join(others)} and {last}" if others else last
    return f"{images} images, {counted(statistics['boxes'], 'object')}, {classes(names)}"


def classes(names: Sequence[str]) -> str:
    """Return the number of classes, with the names of the first.

    >>> classes(["car"]), classes([str(number) for number in range(11)])
    ('1 class (car)', '11 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)')
    """
    shown = ", ".join([*names[:_MOST_NAMES], *(["..."] if len(names) > _MOST_NAMES else [])])
    return f"{counted(len(names), 'class', 'classes')} ({shown})"
