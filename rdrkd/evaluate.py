"""Evaluate weights on a split in one inference pass: COCO-protocol AP, and beside it Ultralytics' own mAP.

All figures are in percent. The two differ by some points on drone images (other interpolation, other limits on the
number of detections), so each is labelled.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ultralytics.models.yolo.detect import DetectionValidator

from rdrkd.coco_metrics import MAX_DETS, coco_metrics
from rdrkd.data import Dataset
from rdrkd.errors import DatasetError, PairError, StopRequested
from rdrkd.events import Progress, Warn
from rdrkd.ground_truth import CocoJson, LabelledImage, from_annotations, from_labels
from rdrkd.models import load_weights
from rdrkd.reporter import Reporter

_OWN = {
    "mAP50_95": "metrics/mAP50-95(B)",
    "mAP50": "metrics/mAP50(B)",
    "precision": "metrics/precision(B)",
    "recall": "metrics/recall(B)",
}


def evaluate(
    weights: Path,
    data: Dataset,
    imgsz: int,
    batch: int,
    split: str = "val",
    device: str | None = None,
    reporter: Reporter | None = None,
    single_cls: bool = False,
) -> dict[str, Any]:
    """Evaluate `weights` on a split of `data` with `imgsz` px input.

    Returns:
        `coco` and `coco_maxdets500` (AP, AP50, AP75, AP_S, AP_M, AP_L), `ultralytics` (mAP50_95, mAP50, precision,
        recall) and `per_class` (class name -> AP, AP50 at maxDets 100); percent, None where there is nothing to find.

    Raises:
        ModelError: the weights cannot be loaded.
        PairError: the model's class names are not the data set's.
        DatasetError: the split is missing, or its annotations do not fit its images.
        StopRequested: the reporter asked to stop.
    """
    if split not in data.splits:
        raise DatasetError(f"expected a data set with the split {split!r}, got {sorted(data.splits)}")
    names = ("item",) if single_cls else data.names
    model = load_weights(weights)
    if tuple(model.names) != names:
        raise PairError(f"expected a model of the data set's classes {list(names)}, got {list(model.names)}")
    with tempfile.TemporaryDirectory(prefix="rdrkd-evaluate-") as folder:
        data.write_yaml(Path(folder, "data.yaml"))
        validator = _Collector(Path(folder), imgsz, batch, split, device, reporter, single_cls)
        own = validator(model=model.model)
    images = validator.images()
    truth = _ground_truth(images, data, split, names, reporter, single_cls)
    known = {image["id"] for image in truth["images"]}
    detections = validator.detections()
    figures = coco_metrics(truth, detections[np.isin(detections[:, 0], list(known))])
    objects = sum(len(image.classes) for image in images)
    figures["ultralytics"] = {
        name: round(100 * float(own[key]), 3) if objects else None for name, key in _OWN.items()
    }
    return figures


def _ground_truth(
    images: list[LabelledImage],
    data: Dataset,
    split: str,
    names: tuple[str, ...],
    reporter: Reporter | None,
    single_cls: bool,
) -> CocoJson:
    """Take the split's COCO annotations where there are any, else its labels."""
    if split not in data.annotations:
        return from_labels(images, names)
    truth, notes = from_annotations(data.annotations[split], images, data.names)
    for note in notes if reporter else ():
        assert reporter is not None
        reporter.emit(Warn(code="annotations_partly_used", message=note))
    if single_cls:
        truth["categories"] = [{"id": 0, "name": names[0]}]
        truth["annotations"] = [{**annotation, "category_id": 0} for annotation in truth["annotations"]]
    return truth


class _Collector(DetectionValidator):
    """Ultralytics' validator, which also keeps up to 500 detections an image in px of the original image."""

    def __init__(
        self,
        folder: Path,
        imgsz: int,
        batch: int,
        split: str,
        device: str | None,
        reporter: Reporter | None,
        single_cls: bool,
    ) -> None:
        args = {
            "task": "detect", "mode": "val", "data": str(folder / "data.yaml"), "imgsz": imgsz, "batch": batch,
            "split": split, "device": device, "conf": 0.001, "single_cls": single_cls, "rect": True, "workers": 0,
            "plots": False, "save_json": False, "verbose": False,
        }  # fmt: skip
        super().__init__(save_dir=folder, args=args)
        self._reporter = reporter
        self._rows: list[npt.NDArray[np.float64]] = []
        self._own_max_det = 0
        self._index: dict[str, int] = {}

    def init_metrics(self, model: Any) -> None:
        """Remember the detections that Ultralytics itself would count, and ask for as many as the COCO figures need."""
        super().init_metrics(model)
        self._own_max_det = self.args.max_det  # 300, or the most objects that one image has
        self.args.max_det = max(self._own_max_det, *MAX_DETS)
        if self.end2end and hasattr(model, "model"):
            model.model.set_head_attr(max_det=self.args.max_det)
        self._index = {file: i for i, file in enumerate(self.dataloader.dataset.im_files)}

    def update_metrics(self, preds: list[dict[str, Any]], batch: dict[str, Any]) -> None:
        """Feed Ultralytics' metric and keep the detections of one batch."""
        own = [{key: value[: self._own_max_det] for key, value in pred.items()} for pred in preds]
        super().update_metrics(own, batch)
        for i, pred in enumerate(preds):
            image = self._prepare_batch(i, batch)
            boxes = self.scale_preds(pred, image)["bboxes"].cpu().numpy().astype(np.float64)
            scores = pred["conf"].cpu().numpy()
            index = np.full(len(boxes), self._index[image["im_file"]])
            wide_high = boxes[:, 2:] - boxes[:, :2]
            self._rows.append(np.column_stack([index, boxes[:, :2], wide_high, scores, pred["cls"].cpu().numpy()]))
        self._report()

    def _report(self) -> None:
        """Tell how many images are done, and stop where that is wished."""
        if self._reporter is None:
            return
        self._reporter.emit(
            Progress(phase="evaluating", completed=self.seen, total=len(self._index), unit="image")
        )
        if self._reporter.should_stop():
            raise StopRequested("the evaluation was asked to stop")

    def images(self) -> list[LabelledImage]:
        """Give the evaluated images with their labels, in the order of the detections' image ids."""
        return [
            LabelledImage(
                path=Path(label["im_file"]),
                height=int(label["shape"][0]),
                width=int(label["shape"][1]),
                classes=label["cls"].reshape(-1).astype(np.int64),
                boxes=label["bboxes"].astype(np.float64),
            )
            for label in self.dataloader.dataset.labels
        ]

    def detections(self) -> npt.NDArray[np.float64]:
        """Give all detections: (N, 7) rows of image id, x, y, w, h (px), score, class."""
        return np.concatenate(self._rows) if self._rows else np.zeros((0, 7))
