"""Find images that look alike by a difference hash: frames of one scene in two splits distort measurements."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data.dataset import Dataset
from rdrkd.data.images import ImageFault
from rdrkd.data.pixels import Pixels

Hashes = npt.NDArray[np.uint64]  # (images, 4): 256 bits each
_SIDE = 16
_FAR = 13  # differing bits of 256 from which on images do not look alike
_FLAT = 2.0  # standard deviation of grey values below which an image is too uniform to compare
_ROWS = 2048  # images compared with all others at a time


def difference_hash(image: Pixels) -> Hashes | None:
    """Return whether each of 16 x 16 cells is brighter than its left neighbour, as 4 words; None for a flat image."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    if small.std() < _FLAT:
        return None
    return np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)


def hashes_of(dataset: Dataset, split: str) -> tuple[list[Path], Hashes]:
    """Return the readable, non-flat images of a split, and their hashes."""

    def hashed(image: Path) -> Hashes | None:
        try:
            return difference_hash(dataset.read(image))
        except ImageFault:
            return None

    images = dataset.images(split)
    with ThreadPoolExecutor(min(4, len(os.sched_getaffinity(0)))) as pool:
        pairs = zip(images, pool.map(hashed, images), strict=True)
        found = [(image, code) for image, code in pairs if code is not None]
    codes = np.array([code for _, code in found], dtype=np.uint64).reshape(-1, _SIDE * _SIDE // 64)
    return [image for image, _ in found], codes


def alike(images: Sequence[Path], codes: Hashes, others: Sequence[Path], of_others: Hashes) -> list[tuple[Path, Path]]:
    """Return each image that looks like one of the others, with the most similar one."""
    pairs = []
    for start in range(0, len(codes) if len(of_others) else 0, _ROWS):
        rows = codes[start : start + _ROWS]
        bits = sum(
            np.bitwise_count(rows[:, None, word] ^ of_others[None, :, word]).astype(np.uint16)
            for word in range(codes.shape[1])
        )
        nearest = np.argmin(bits, axis=1)
        pairs += [
            (images[start + row], others[column]) for row, column in enumerate(nearest) if bits[row, column] < _FAR
        ]
    return pairs
