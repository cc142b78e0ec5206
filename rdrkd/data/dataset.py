"""A dataset in YOLO layout."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rdrkd.data.layout import Layout, find_yaml, images_in, read_layout
from rdrkd.data.yolo import label_path
from rdrkd.errors import DatasetError
from rdrkd.files import file_sha256


@dataclass(frozen=True)
class Dataset:
    """Images and labels that a run reads; paths are absolute.

    Attributes:
        root: the folder that the data YAML calls its path.
        names: class names by class number.
        splits: the folder of images of `train`, `val` and, where there is one, `test`.
        annotations: the COCO JSON of each split that has one; it knows crowds, which YOLO labels cannot say.
        sha256: of the archive's bytes; of a folder, over the names and bytes of all images, labels and annotations.
    """

    root: Path
    names: tuple[str, ...]
    splits: dict[str, Path]
    annotations: dict[str, Path]
    sha256: str
    hold: object = field(default=None, compare=False, repr=False)  # of an unpacked archive: what keeps it there

    def images(self, split: str) -> list[Path]:
        """Give the split's images, sorted by path.

        Raises:
            DatasetError: the dataset has no such split.
        """
        if split not in self.splits:
            raise DatasetError(f"expected one of the dataset's splits {sorted(self.splits)}, got {split!r}")
        return images_in(self.splits[split])

    def write_yaml(self, path: Path) -> None:
        """Write the data YAML that training reads: absolute paths and names, and nothing that anybody else wrote."""
        content = {"path": str(self.root), **{s: str(p) for s, p in self.splits.items()}, "names": list(self.names)}
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def local_dataset(path: Path) -> Dataset:
    """Open a folder or a data YAML of this machine's owner.

    Raises:
        DatasetError: it is no dataset in YOLO layout.
    """
    layout = read_layout(find_yaml(path) if path.is_dir() else path)
    return _dataset(layout, _content_sha256(layout))


def uploaded_dataset(folder: Path, sha256: str) -> Dataset:
    """Open an unpacked upload in YOLO layout, which may not lead out of its folder.

    Raises:
        DatasetError: it is no dataset in YOLO layout.
    """
    return _dataset(read_layout(find_yaml(folder), within=folder), sha256)


def _dataset(layout: Layout, sha256: str) -> Dataset:
    return Dataset(layout.root, layout.names, layout.splits, layout.annotations, sha256)


def _content_sha256(layout: Layout) -> str:
    """Hash what a run reads: class names, and each file's place and bytes."""
    digest = hashlib.sha256("\n".join(layout.names).encode())
    for split, folder in sorted(layout.splits.items()):
        images = images_in(folder)
        files = [f for image in images for f in (image, label_path(image)) if f.is_file()]
        for file in [*files, *([layout.annotations[split]] if split in layout.annotations else [])]:
            digest.update(f"\n{split} {file.name} {file_sha256(file)}".encode())
    return digest.hexdigest()
