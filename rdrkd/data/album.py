"""A sample of a dataset's images to browse: small copies, concatenated in one file, and their boxes as JSON.

The service must not decode untrusted images, so the check of the upload draws what the service hands out.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rdrkd.data.dataset import Dataset
from rdrkd.data.frames import Box, Frame
from rdrkd.data.jpeg import small_jpeg
from rdrkd.data.preview import frame_of, ignored_of

PICTURES, INDEX = "album.jpgs", "album.json"
MOST = 120  # images, spread over the splits
MOST_BOXES = 500  # of an image
LONGEST_SECONDS = 20.0  # images not drawn by then are left out
MOST_BYTES = 2**24  # of all pictures: those beyond are left out
_SIDE = 800  # px of the longer side of a picture
_QUALITY = 75  # of the JPEG


def draw_album(dataset: Dataset, folder: Path) -> None:
    """Write the pictures and their index into a folder.

    Args:
        dataset: a valid dataset.
        folder: the folder to create.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    left, started = MOST_BYTES, time.monotonic()
    with (folder / PICTURES).open("wb") as pictures:
        for split, image, ignored in _chosen(dataset):
            picture = small_jpeg(dataset.read(image), _SIDE, _QUALITY)
            if len(picture) > left or time.monotonic() - started > LONGEST_SECONDS:
                break
            left -= pictures.write(picture)
            frame = frame_of(dataset, image, ignored)
            entries.append({"split": split, "name": image.name, "bytes": len(picture), **_described(frame)})
    (folder / INDEX).write_text(json.dumps({"images": entries}), encoding="utf-8")


def _chosen(dataset: Dataset) -> Iterator[tuple[str, Path, tuple[Box, ...]]]:
    """Yield images spread over each split, with their ignored boxes; every split gets its share of the images."""
    count = sum(map(len, dataset.splits.values()))
    for split, images in dataset.splits.items():
        share = min(len(images), max(1, round(MOST * len(images) / count), MOST // 4 // len(dataset.splits)))
        ignored = ignored_of(dataset, split)
        for place in range(share):
            image = images[place * len(images) // share]
            yield split, image, ignored.get(image, ())


def _described(frame: Frame) -> dict[str, Any]:
    boxes = [[box.label, *_corner(box)] for box in frame.boxes if not box.ignored and box.label is not None]
    ignored = [_corner(box) for box in frame.boxes if box.ignored or box.label is None]
    return {
        "width": frame.width,
        "height": frame.height,
        "boxes": boxes[:MOST_BOXES],
        "ignored": ignored[:MOST_BOXES],
        "more": max(0, len(boxes) - MOST_BOXES),
    }


def _corner(box: Box) -> list[float]:
    return [round(float(value), 2) for value in (box.x, box.y, box.width, box.height)]
