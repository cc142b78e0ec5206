"""A dataset in YOLO layout."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from rdrkd.data.data_yaml import find_yaml
from rdrkd.data.formats import Format, detect
from rdrkd.data.label_lookup import LabelFiles
from rdrkd.data.layout import Layout, read_layout
from rdrkd.data.names import ImageNames, image_names
from rdrkd.data.pixels import Pixels, Scaling, read, scaling_of
from rdrkd.errors import DatasetError, Problem
from rdrkd.files import file_sha256

SCALING = "scaling"  # the key of our data YAML that holds the range of deep images


@dataclass(frozen=True)
class Dataset:
    """The images and labels that a run reads; paths are absolute.

    Attributes:
        root: the `path` of the data YAML.
        names: class names by class number.
        splits: the images of each existing split (`train`, `val`, `test`), sorted by path.
        annotations: the COCO JSON of each split that has one; it marks crowds, which YOLO labels cannot.
        sha256: hash of the archive; for a folder, of the names and bytes of all images, labels and annotations.
        scaling: range by which images of more than 8 bits per channel are scaled; None if there are none.
        notes: tolerated oddities of the layout, a sentence each.
        divide: how its owner has divided an upload without splits (`rdrkd.spec.splitting`), as text; else None.
        left_out: the first items that lenient mode left out of the upload.
    """

    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]
    annotations: dict[str, Path]
    sha256: str
    scaling: Scaling | None = None
    notes: tuple[str, ...] = ()
    divide: str | None = None
    left_out: tuple[Problem, ...] = ()
    hold: object = field(default=None, compare=False, repr=False)  # for an unpacked archive: protects it from eviction
    labels: LabelFiles = field(default_factory=LabelFiles, compare=False, repr=False)

    def images(self, split: str) -> list[Path]:
        """Return the split's images, sorted by path.

        Raises:
            DatasetError: the dataset has no such split.
        """
        if split not in self.splits:
            raise DatasetError(f"expected one of the dataset's splits {sorted(self.splits)}, got {split!r}")
        return list(self.splits[split])

    def label(self, image: Path) -> Path:
        """Return the path of an image's label file, existing or not."""
        return self.labels.of(image)

    def read(self, image: Path) -> Pixels:
        """Return an image as used in training: (H, W, 3), upright, in blue, green, red.

        Raises:
            ImageFault: it cannot be decoded.
        """
        return read(image, self.scaling)

    def matching(self, split: str) -> ImageNames:
        """Return a matcher of a split's images by their names in annotations."""
        return image_names(self.images(split))

    def write_yaml(self, path: Path) -> None:
        """Write the data YAML for training, and beside it lists of each split's images and labels.

        Ultralytics requires `train` and `val`; if the dataset lacks one of them, another split takes its place.
        """
        lists = {}
        for split, images in self.splits.items():
            lists[split] = path.with_name(f"{path.stem}.{split}.txt")
            lists[split].write_text("".join(f"{image}\n" for image in images), encoding="utf-8")
            labels = (file if (file := self.label(image)).is_file() else "" for image in images)
            labels_of(lists[split]).write_text("".join(f"{file}\n" for file in labels), encoding="utf-8")
        fallback = next(iter(lists.values()))
        places = {split: str(lists.get(split, fallback)) for split in ("train", "val", *lists)}
        content: dict[str, Any] = {"path": str(self.root), **places, "names": list(self.names)}
        if self.scaling is not None:
            content[SCALING] = [self.scaling.low, self.scaling.high]
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def local_dataset(path: Path) -> Dataset:
    """Open a local folder or data YAML, whose paths are trusted.

    Raises:
        DatasetError: it is not a dataset in YOLO layout.
    """
    if path.is_dir() and (form := detect(path)) != Format.YOLO:
        raise DatasetError(f"expected a folder in YOLO layout, got one in the layout {form}: pack it as a .zip")
    layout = read_layout(find_yaml(path) if path.is_dir() else path)
    return _dataset(layout, _content_sha256(layout), range_of(layout.splits))


def uploaded_dataset(folder: Path, sha256: str, scaling: Scaling | None = None) -> Dataset:
    """Open an unpacked upload in YOLO layout, whose paths must stay in its folder.

    Raises:
        DatasetError: it is not a dataset in YOLO layout.
    """
    dataset = _dataset(read_layout(find_yaml(folder), within=folder), sha256, scaling)
    return replace(dataset, labels=LabelFiles(folder.resolve()))


def labels_of(images: Path) -> Path:
    """Return the path of the list of label files for a list of images; its empty lines are images without one."""
    return images.with_suffix(".labels")


def _dataset(layout: Layout, sha256: str, scaling: Scaling | None) -> Dataset:
    return Dataset(layout.root, layout.names, layout.splits, layout.annotations, sha256, scaling, layout.notes)


def range_of(splits: Mapping[str, Sequence[Path]]) -> Scaling | None:
    """Return the range of a dataset's deep images, measured on the training images, or on all if those have none."""
    return scaling_of(splits.get("train", ())) or scaling_of([image for images in splits.values() for image in images])


def _content_sha256(layout: Layout) -> str:
    """Hash the inputs of a run: class names, and each file's path and bytes."""
    digest = hashlib.sha256("\n".join(layout.names).encode())
    labels = LabelFiles()
    for split, images in sorted(layout.splits.items()):
        files = [f for image in images for f in (image, labels.of(image)) if f.is_file()]
        for file in [*files, *([layout.annotations[split]] if split in layout.annotations else [])]:
            digest.update(f"\n{split} {file.name} {file_sha256(file)}".encode())
    return digest.hexdigest()
