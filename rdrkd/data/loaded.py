"""The images and labels with which Ultralytics trains and validates: exactly those that were checked.

Ultralytics' dataset searches for images itself, reads labels by its own rules and silently drops invalid ones; it
repairs JPEGs in place and writes caches beside the images. This one lists, labels and decodes through
`rdrkd.data.yolo` and `rdrkd.data.pixels`, as the check does, and writes only to the run's own folder.
"""

import math
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rdrkd.data import pixels, yolo
from rdrkd.data.dataset import SCALING, labels_of
from rdrkd.data.images import ImageFault, size_of
from rdrkd.errors import DatasetError, Problem
from rdrkd.ultralytics_adapter import YOLODataset

_DECODED = "decoded"  # folder of a run for the decoded images of `cache: disk`
_THREADS = 4

Loaded = tuple[pixels.Pixels, tuple[int, int], tuple[int, int]]  # image, (height, width) of the file, and as loaded


class LoadedDataset(YOLODataset):
    """A `YOLODataset` for detection that reads the output of `Dataset.write_yaml` with the project's readers."""

    cache: str | None
    _label_of: dict[str, str]  # image -> label file; "" if there is none
    _decoded_bytes: int  # of all images

    def get_img_files(self, img_path: str) -> list[str]:
        """Return the images of the list, or the first of them if a fraction is requested."""
        files = _lines(Path(img_path))
        self._label_of = dict(zip(files, _lines(labels_of(Path(img_path))), strict=True))
        count = self.fraction if isinstance(self.fraction, int) else max(1, round(len(files) * self.fraction))
        return files[:count]

    def get_labels(self) -> list[dict[str, Any]]:
        """Return each image's size and labels.

        Raises:
            DatasetError:  an image or label file has changed since the check.
        """
        with ThreadPoolExecutor(_THREADS) as pool:
            labels = list(pool.map(self._labels_of, self.im_files))
        # With rectangular batches, Ultralytics takes the sizes from the labels before it checks the disk.
        self._decoded_bytes = sum(3 * height * width for height, width in (label["shape"] for label in labels))
        return labels

    @property
    def npy_files(self) -> list[Path]:
        """Return the paths of decoded images for `cache: disk`: in the run's folder, never beside the images."""
        return self._npy_files

    @npy_files.setter
    def npy_files(self, beside: list[Path]) -> None:
        folder = Path(self.data["yaml_file"]).parent / _DECODED / Path(self.img_path).stem
        self._npy_files = [folder / f"{index}.npy" for index in range(len(beside))]

    def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> Loaded:
        """Return an image at the size of the network's input, from memory if cached.

        Args:
            i: its index.
            rect_mode: keep its proportions; otherwise stretch it to a square.
            resize_short: with kept proportions, scale the short side, not the long one, to the input's size.
        """
        if self.ims[i] is not None:
            return self.ims[i], self.im_hw0[i], self.im_hw[i]
        image = self._decoded(i)
        height, width = image.shape[:2]
        target = self._target(height, width, rect_mode, resize_short)
        if target != (height, width):
            image = cv2.resize(image, target[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
        if self.augment and self.cache != "ram":
            self._remember(i, image, (height, width))
        return image, (height, width), image.shape[:2]

    def cache_images_to_disk(self, i: int) -> None:
        """Store a decoded image in the run's folder."""
        file = self.npy_files[i]
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, self.pixels(i), allow_pickle=False)

    def check_cache_disk(self, safety_margin: float = 0.1) -> bool:
        """Return whether the run's disk has space for all decoded images; otherwise they are decoded each time."""
        if self._decoded_bytes * (1 + safety_margin) < shutil.disk_usage(Path(self.data["yaml_file"]).parent).free:
            return True
        self.cache = None
        return False

    def _labels_of(self, file: str) -> dict[str, Any]:
        image = Path(file)
        try:
            width, height = size_of(image)
        except ImageFault as fault:
            raise _changed(image, str(fault)) from fault
        classes = sys.maxsize if self.single_cls else len(self.data["names"])  # Ultralytics sets all classes to 0
        label = self._label_of[file]
        if label and not Path(label).is_file():
            raise _changed(image, f"expected its label file {Path(label).name}, got nothing there")
        labels = yolo.read_file(Path(label), width, height, classes, image.name)
        if labels.problems:
            raise _changed(image, labels.problems[0].detail)
        rows = np.array(labels.rows, dtype=np.float32).reshape(-1, 5)
        return {
            "im_file": file,
            "shape": (height, width),
            "cls": rows[:, 0:1],
            "bboxes": rows[:, 1:],
            "segments": [],
            "keypoints": None,
            "normalized": True,
            "bbox_format": "xywh",
        }

    def _decoded(self, i: int) -> pixels.Pixels:
        if self.cache == "disk" and self.npy_files[i].exists():
            image: pixels.Pixels = np.load(self.npy_files[i], allow_pickle=False)
            return image
        return self.pixels(i)

    def pixels(self, i: int) -> pixels.Pixels:
        """Return an image at its original size.

        Raises:
            DatasetError: the file has changed since the check.
        """
        scaling = self.data.get(SCALING)
        try:
            return pixels.read(Path(self.im_files[i]), pixels.Scaling(*scaling) if scaling else None)
        except ImageFault as fault:
            raise _changed(Path(self.im_files[i]), str(fault)) from fault

    def _target(self, height: int, width: int, rect_mode: bool, resize_short: bool) -> tuple[int, int]:
        """Return the height and width to which an image is scaled."""
        shape = tuple(self.imgsz) if isinstance(self.imgsz, tuple | list) else (self.imgsz, self.imgsz)
        if not rect_mode:
            return shape[0], shape[1]
        side = max(shape)
        if resize_short:
            ratio = side / min(height, width)
            return (side, math.ceil(width * ratio)) if height < width else (math.ceil(height * ratio), side)
        ratio = side / max(height, width)
        if ratio == 1:
            return height, width
        return min(math.ceil(height * ratio), side), min(math.ceil(width * ratio), side)

    def _remember(self, i: int, image: npt.NDArray[np.uint8], size: tuple[int, int]) -> None:
        """Keep the newest images in memory, as mosaic combines them with others."""
        self.ims[i], self.im_hw0[i], self.im_hw[i] = image, size, image.shape[:2]
        self.buffer.append(i)
        if 1 < len(self.buffer) >= self.max_buffer_length:
            oldest = self.buffer.pop(0)
            self.ims[oldest] = self.im_hw0[oldest] = self.im_hw[oldest] = None


def loaded(
    args: Any, images: str, batch: int, data: dict[str, Any], mode: str, rect: bool, stride: int
) -> LoadedDataset:
    """Return the dataset of a split for Ultralytics' trainer or validator.

    Args:
        args: Ultralytics' arguments.
        images: the list of the split's images, as written by `Dataset.write_yaml`.
        batch: images per step.
        data: the parsed data YAML.
        mode: `train` augments the images; `val` does not.
        rect: batches keep the proportions of their images.
        stride: the network's largest stride, px.

    Raises:
        DatasetError:  an image or label file has changed since the check.
    """
    training = mode == "train"
    return LoadedDataset(
        img_path=images, imgsz=args.imgsz, batch_size=batch, augment=training, hyp=args, rect=args.rect or rect,
        cache=args.cache or None, single_cls=args.single_cls or False, stride=stride, pad=0.0 if training else 0.5,
        prefix=f"{mode}: ", task="detect", classes=args.classes, data=data, fraction=args.fraction if training else 1.0,
    )  # fmt: skip


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split("\n")[:-1]


def _changed(image: Path, detail: str) -> DatasetError:
    message = f"{image.name}: the file is no longer what was checked: {detail}"
    return DatasetError(message, [Problem(image.name, message)])
