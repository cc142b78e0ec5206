"""Summarise a dataset in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

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
    shown = ", ".join([*names[:_MOST_NAMES], *(["..."] if len(names) > _MOST_NAMES else [])])
    return (
        f"{images} images, {_counted(statistics['boxes'], 'object', 's')}, "
        f"{_counted(len(names), 'class', 'es')} ({shown})"
    )


def _counted(number: int, word: str, plural: str) -> str:
    return f"{number} {word}{'' if number == 1 else plural}"
