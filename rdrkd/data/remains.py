"""Explain why nothing is left of a split after lenient mode has left out its faulty images."""

from collections import Counter
from collections.abc import Iterator

from rdrkd.data.check import where_in
from rdrkd.data.dataset import Dataset
from rdrkd.data.faults import INCOMPLETE, Faults
from rdrkd.errors import Problem


def emptied(dataset: Dataset, faults: Faults) -> list[Problem]:
    """Return a problem for each split whose images were all left out.

    Args:
        dataset: the dataset before its faulty images were left out.
        faults: what was left out.
    """
    gone = [split for split, images in dataset.splits.items() if not any(image.is_file() for image in images)]
    return [Problem(split, _nothing_left(dataset, split, faults)) for split in gone]


def causes(faults: Faults) -> list[Problem]:
    """Return the faults that were left out, without the images that were left out because of their labels."""
    return [problem for problem in faults.dropped if problem.detail != INCOMPLETE]


def _nothing_left(dataset: Dataset, split: str, faults: Faults) -> str:
    """Return that all images of a split were left out, with the most common fault of its images and labels."""
    images, counts = len(dataset.splits[split]), Counter(_faults_of(dataset, split, faults))
    left_out = f"all {images} images were left out" if images > 1 else "its only image was left out"
    reason = f" ({counts.most_common(1)[0][0]})" if counts else ""
    return f"nothing is left: {left_out}{reason}"


def _faults_of(dataset: Dataset, split: str, faults: Faults) -> Iterator[str]:
    files = {where_in(dataset, file) for image in dataset.splits[split] for file in (image, dataset.label(image))}
    for problem in causes(faults):
        if problem.where in files or problem.where.rpartition(":")[0] in files:  # `file` or `file:line`
            yield problem.detail
