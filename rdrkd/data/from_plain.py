"""YOLO labels of an upload without splits: write lists of images as its owner divides it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from rdrkd.data.data_yaml import SPLITS, checked_names, find_yaml, is_data_yaml, names_in, read_yaml, yamls
from rdrkd.data.dataset import Dataset
from rdrkd.data.formats import is_visible, own_split
from rdrkd.data.layout import images_in, read_layout
from rdrkd.data.names import relative_names
from rdrkd.data.recognition import CLASSES
from rdrkd.data.remedies import DATA_YAML
from rdrkd.data.text_files import text_of
from rdrkd.errors import DatasetError
from rdrkd.spec.splitting import Split

_MOST_BYTES = 1 << 20


def divide(folder: Path, split: Split) -> None:
    """Write a data YAML with a list of the images of each split; do not move images and labels.

    The images are those of `train` if the data YAML has no `val`, else all images of the upload.

    Raises:
        DatasetError: there are no class names, or the upload already has splits.
    """
    names, splits, old = _found(folder, split)
    pool = sorted(splits.pop("train", None) or _labelled(folder))
    divided = split.divide(relative_names(pool, folder)) if pool else {}
    if not divided:
        raise DatasetError("expected images to divide, got none")
    for of, indices in divided.items():
        splits[of] = tuple(pool[index] for index in indices)
    for file in old:
        file.unlink()
    _write_lists(folder, names, splits)


def list_what_is_left(folder: Path, dataset: Dataset) -> None:
    """Rewrite the lists of a dataset that name removed images."""
    left = {of: tuple(image for image in images if image.is_file()) for of, images in dataset.splits.items()}
    if left == dataset.splits:
        return
    file = find_yaml(folder)
    data = read_yaml(file)
    if any(place.endswith(".txt") for of in SPLITS for place in getattr(data, of)):
        file.unlink()
        _write_lists(dataset.root, data.names, left)


def _write_lists(root: Path, names: Sequence[str], splits: Mapping[str, Sequence[Path]]) -> None:
    """Write a data YAML into the root of a dataset, and beside it a list of the images of each split."""
    content: dict[str, object] = {"path": "."}
    for of, images in splits.items():
        listed = root / f"split.{of}.txt"
        listed.write_text("".join(f"./{os.path.relpath(image, root)}\n" for image in images), encoding="utf-8")
        content[of] = listed.name
    content["names"] = dict(enumerate(names))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (root / "data.yaml").write_text(text, encoding="utf-8")


def _found(folder: Path, split: Split) -> tuple[Sequence[str], dict[str, tuple[Path, ...]], Sequence[Path]]:
    """Return the class names, the existing splits, and the files that a new data YAML replaces."""
    there = [file for file in yamls(folder) if is_visible(file, folder)]
    whole = [file for file in there if is_data_yaml(file)]
    for file in whole[:1]:
        layout = read_layout(file, within=folder)
        own = own_split(layout.splits, split)
        if own is not None:
            raise DatasetError(own)
        return layout.names, dict(layout.splits), whole
    named = [(file, names) for file in there if (names := names_in(file)) is not None]
    if len(named) == 1:
        return named[0][1], {}, [named[0][0]]
    classes = [file for file in sorted(folder.rglob(CLASSES)) if is_visible(file, folder)]
    if len(classes) != 1:
        raise DatasetError(
            f"expected class names, in one data.yaml with `names` or one {CLASSES}, "
            f"got {len(named)} and {len(classes)}",
            advice=DATA_YAML,
        )
    return _lines(classes[0]), {}, []


def _labelled(folder: Path) -> list[Path]:
    """Return all images; `check` reports if none has a label file."""
    images = images_in(folder)
    inside = [image for image in images if "images" in image.relative_to(folder).parts]
    return inside or images


def _lines(file: Path) -> tuple[str, ...]:
    if file.stat().st_size > _MOST_BYTES:
        raise DatasetError(f"{file.name}: expected at most {_MOST_BYTES} bytes, got more")
    try:
        lines = text_of(file).rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file.name}: expected class names in UTF-8 or UTF-16, got: {error}") from error
    return checked_names(lines, file.name)  # an empty line would shift the numbers of the following classes
