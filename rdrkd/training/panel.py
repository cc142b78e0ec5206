"""Show the detections of teacher and student in a few validation images during training.

The files are those of `rdrkd.evaluation.gallery`, which at the run's end show the student's worst misses instead. The
student's detections come from each epoch's validation; the teacher runs on each image once. Neither draws a random
number nor changes a weight.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rdrkd.evaluation.gallery import Gallery
from rdrkd.evaluation.ground_truth import LabelledImage
from rdrkd.evaluation.misses import SMALL, Boxes
from rdrkd.evaluation.operating_points import USUAL
from rdrkd.events import Warn
from rdrkd.models.levels import forward
from rdrkd.paths import without_paths
from rdrkd.reporter import Reporter
from rdrkd.ultralytics_adapter import (
    DetectionModel,
    DetectionValidator,
    branches,
    decode_boxes,
    non_max_suppression,
)

IMAGES = 4
SECONDS = 30.0  # between panels, as between reports
IOU = 0.7  # threshold of non-maximum suppression of the teacher's detections; Ultralytics' default
SIDE = 640  # px of the longer side of an image; kept small, as every checkpoint contains it
EPOCHS = 8  # earlier ones that are kept: the first, and more and more widely spaced ones after it


class PanelValidator(DetectionValidator):
    """Ultralytics' validator, which also keeps the detections in the images with the most small objects.

    Attributes:
        teacher: runs on each of those images once; None: there is none.
        dtype: autocast type of the teacher; None: fp32.
        panel: the images and the detections in them.
    """

    teacher: DetectionModel | None = None
    dtype: torch.dtype | None = None
    panel: "Panel | None" = None

    def init_metrics(self, model: Any) -> None:
        """Choose the images before the first validation."""
        super().init_metrics(model)
        if self.panel is not None:
            self.panel.choose(self.dataloader.dataset.labels, self.args.imgsz)

    def update_metrics(self, preds: list[dict[str, Any]], batch: dict[str, Any]) -> None:
        """Feed Ultralytics' metric, and keep the detections in the chosen images."""
        super().update_metrics(preds, batch)
        if self.panel is not None:
            self.panel.take(self, preds, batch)

    def confidence(self) -> float:
        """Return the confidence with the best F1 in this validation."""
        box = self.metrics.box
        curve = np.asarray(box.f1_curve)
        if not curve.size or curve.max() <= 0:
            return USUAL
        return max(0.01, round(float(box.px[curve.mean(0).argmax()]), 3))


class Panel:
    """The images, and each network's detections in them; its errors never stop the training."""

    def __init__(self, run_dir: Path, reporter: Reporter) -> None:
        self._run_dir, self._reporter = run_dir, reporter
        self._chosen: dict[str, dict[str, Any]] = {}  # file -> its labels, the most small objects first
        self._sizes: dict[str, tuple[int, int]] = {}  # file -> height and width, px
        self._found: dict[str, dict[str, Boxes]] = {"student": {}, "teacher": {}}
        self._history: list[dict[str, Any]] = []  # a resumed training begins a new one
        self._written: float | None = None  # monotonic seconds
        self._failed = False

    def choose(self, labels: list[dict[str, Any]], imgsz: int) -> None:
        """Choose the images with the most objects that are small at the network's input, the hardest for a student."""
        if self._chosen:
            return
        small = [int((label["bboxes"][:, 2:].prod(1) * imgsz**2 < SMALL).sum()) for label in labels]
        order = sorted(range(len(labels)), key=lambda place: (-small[place], -len(labels[place]["cls"]), place))
        self._chosen = {labels[place]["im_file"]: labels[place] for place in order[:IMAGES]}

    def take(self, validator: PanelValidator, preds: list[dict[str, Any]], batch: dict[str, Any]) -> None:
        """Keep the student's detections in the chosen images of a batch, and the teacher's the first time."""
        if self._failed:
            return
        try:
            for place, file in enumerate(batch["im_file"]):
                if file in self._chosen:
                    self._sizes[file] = batch["ori_shape"][place]
                    image = validator._prepare_batch(place, batch)
                    self._found["student"][file] = _rows(validator, preds[place], image)
                    if validator.teacher is not None and file not in self._found["teacher"]:
                        looked = _look(validator.teacher, batch["img"][place : place + 1], validator.dtype)
                        self._found["teacher"][file] = _rows(validator, looked, image)
        except Exception as error:  # noqa: BLE001  - failing pictures must not fail a training
            self._give_up(error)

    def refresh(self, validator: PanelValidator, epoch: int) -> None:
        """Write the files of the epoch just validated, unless the last ones are too recent."""
        if self._failed or (self._written is not None and time.monotonic() - self._written < SECONDS):
            return
        try:
            self._write(validator, epoch)
        except Exception as error:  # noqa: BLE001 - likewise
            self._give_up(error)
        self._written = time.monotonic()

    def _write(self, validator: PanelValidator, epoch: int) -> None:
        dataset = validator.dataloader.dataset
        confidences = {"student": validator.confidence(), "teacher": USUAL}
        files = [file for file in self._chosen if file in self._found["student"]]  # a rank has only its share of them
        if not files:
            return
        gallery = Gallery(images=[_image(self._chosen[file], *self._sizes[file]) for file in files])
        for who, found in self._found.items():
            if all(file in found for file in files):
                gallery.networks[who] = confidences[who]
                gallery.found[who] = [found[file][found[file][:, 5] >= confidences[who]] for file in files]
        gallery.history = self._history
        places = {file: place for place, file in enumerate(dataset.im_files)}
        names = [validator.data["names"][index] for index in range(validator.data["nc"])]
        gallery.write(lambda path: dataset.pixels(places[str(path)]), "val", names, self._run_dir, None, epoch, SIDE)
        self._history = thinned([*self._history, gallery.moment(epoch)])

    def _give_up(self, error: Exception) -> None:
        self._failed = True
        message = f"the predictions of this training cannot be shown: {type(error).__name__}: {error}"
        self._reporter.emit(Warn(code="report_failed", message=without_paths(message)))


def thinned(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most `EPOCHS` moments, spaced by about the same factor: a student changes most at the beginning.

    >>> kept = []
    >>> for epoch in range(1, 101):
    ...     kept = thinned([*kept, {"epoch": epoch}])
    >>> epochs = [each["epoch"] for each in kept]
    >>> (epochs[0], epochs[-1], len(epochs))
    (1, 100, 8)
    """
    kept = list(history)
    while len(kept) > EPOCHS:
        inner = range(1, len(kept) - 1)
        kept.pop(min(inner, key=lambda place: kept[place + 1]["epoch"] / kept[place - 1]["epoch"]))
    return kept


def _image(label: dict[str, Any], height: int, width: int) -> LabelledImage:
    return LabelledImage(
        path=Path(label["im_file"]),
        height=height,
        width=width,
        classes=label["cls"].reshape(-1).astype(np.int64),
        boxes=label["bboxes"].astype(np.float64),
    )


@torch.no_grad()
def _look(teacher: DetectionModel, image: torch.Tensor, dtype: torch.dtype | None) -> dict[str, Any]:
    """Return the teacher's detections in an image (1, 3, H, W), in the format of Ultralytics' validator.

    The teacher runs as in training; its boxes are decoded in fp32, whatever the autocast type.
    """
    with torch.autocast(image.device.type, dtype, enabled=dtype is not None):
        output, _ = forward(teacher, image.float(), decode=False)
    raw = branches(output)["one2many"]
    low, high = decode_boxes(raw, teacher.stride.to(image.device)).permute(0, 2, 1).chunk(2, dim=1)
    decoded = torch.cat([(low + high) / 2, high - low, raw["scores"].float().sigmoid()], dim=1)
    (rows,) = non_max_suppression(decoded, USUAL, IOU, multi_label=True)
    return {"bboxes": rows[:, :4], "conf": rows[:, 4], "cls": rows[:, 5], "extra": rows[:, 6:]}


def _rows(validator: PanelValidator, pred: dict[str, Any], image: dict[str, Any]) -> Boxes:
    """Return detections as rows of class, x, y, width, height, score, in px of the original image."""
    boxes = validator.scale_preds(pred, image)["bboxes"].cpu().numpy().astype(np.float64)
    columns = [pred["cls"].cpu().numpy(), boxes[:, :2], boxes[:, 2:] - boxes[:, :2], pred["conf"].cpu().numpy()]
    return np.column_stack(columns)
