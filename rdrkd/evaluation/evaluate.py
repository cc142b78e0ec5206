"""Evaluate weights on a split in one inference pass: AP by the COCO protocol, and Ultralytics' own mAP.

All figures are in percent. The two differ by some points on drone images (different interpolation and limits on the
number of detections), so each is labelled.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rdrkd.data import Dataset
from rdrkd.data.loaded import loaded
from rdrkd.errors import DatasetError, PairError, StopRequested
from rdrkd.evaluation.coco_metrics import MAX_DETS, coco_metrics
from rdrkd.evaluation.ground_truth import CocoJson, LabelledImage, from_annotations, from_labels
from rdrkd.evaluation.operating_points import operating_points
from rdrkd.events import Progress, Warn
from rdrkd.figures import few
from rdrkd.models import load_weights
from rdrkd.process.devices import devices_of
from rdrkd.reporter import Reporter
from rdrkd.ultralytics_adapter import DetectionValidator, provide_font

# Our name -> Ultralytics' name of the plots in a report.
PLOTS = {"pr_curve.png": "BoxPR_curve.png", "confusion_matrix.png": "confusion_matrix_normalized.png"}
SINGLE = ("item",)  # Ultralytics' class name if all classes are treated as one
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
    plots: Path | None = None,
    seen: "Callable[[Collector], None] | None" = None,
) -> dict[str, Any]:
    """Evaluate `weights` on a split of `data` with `imgsz` px input, on the first of the devices.

    Returns:
        `coco` and `coco_maxdets500` (AP, AP50, AP75, AP_S, AP_M, AP_L), `ultralytics` (mAP50_95, mAP50, precision,
        recall), `operating_points` (see `operating_points`) and `per_class` (class name -> AP, AP50 at maxDets 100);
        percent, None where there is nothing to find.

    Raises:
        ModelError: the weights cannot be loaded.
        PairError: the model's class names are not the dataset's.
        DatasetError: the split is missing, or its annotations do not fit its images.
        StopRequested: the reporter requested a stop.
    """
    model = load_weights(weights)
    check_pair(model.names, data, split, single_cls)
    return measure(model.model, data, imgsz, batch, split, device, reporter, single_cls, plots=plots, seen=seen)


def check_pair(names: Sequence[str], data: Dataset, split: str, single_cls: bool = False) -> None:
    """Check that a model can be evaluated on a dataset.

    Raises:
        PairError: the model's class names are not the dataset's.
        DatasetError: the split is missing.
    """
    if split not in data.splits:
        there = " and ".join(sorted(data.splits)) or "none"
        raise DatasetError(f"expected a dataset with the split {split}, got {there}")
    expected = SINGLE if single_cls else data.names
    if tuple(names) != expected:
        raise PairError(f"expected a model of the dataset's classes {few(expected)}, got {few(names)}")


def measure(
    model: Any,
    data: Dataset,
    imgsz: int,
    batch: int,
    split: str,
    device: str | None,
    reporter: Reporter | None,
    single_cls: bool = False,
    rect: bool = True,
    plots: Path | None = None,
    seen: "Callable[[Collector], None] | None" = None,
) -> dict[str, Any]:
    """Return the figures of `evaluate` for a network, or for an exported file.

    Args:
        model: a network, which is fused in place; or the path of an export of Ultralytics'.
        data: the dataset.
        imgsz: side of the network input, px.
        batch: images per step.
        split: the split to evaluate.
        device: device option; the first device is used.
        reporter: receives the progress.
        single_cls: treat all classes as one.
        rect: keep the images' proportions; exported networks of a fixed shape always get squares.
        plots: folder for Ultralytics' precision-recall curve and confusion matrix (`PLOTS`); None: not drawn.
        seen: called with the validator after it has run, with its images and detections; None: not called.
    """
    provide_font()
    with tempfile.TemporaryDirectory(prefix="rdrkd-evaluate-") as folder:
        data.write_yaml(Path(folder, "data.yaml"))
        validator = Collector(Path(folder), imgsz, batch, split, devices_of(device)[0], reporter, single_cls, rect)
        validator.args.plots = plots is not None
        own = validator(model=model)
        if plots is not None:
            _keep(Path(folder), plots)
    if seen is not None:
        seen(validator)
    return figures(validator, own, data, split, reporter, single_cls)


def _keep(folder: Path, plots: Path) -> None:
    """Copy Ultralytics' plots out of an evaluation's folder; there are none if nothing was detected."""
    for name, drawn in PLOTS.items():
        if (folder / drawn).is_file():
            shutil.copyfile(folder / drawn, plots / name)


def figures(
    validator: "Collector",
    own: dict[str, float],
    data: Dataset,
    split: str,
    reporter: Reporter | None = None,
    single_cls: bool = False,
) -> dict[str, Any]:
    """Compute the figures of `evaluate` from a finished validator and its statistics."""
    images = validator.images()
    truth = _ground_truth(images, data, split, reporter, single_cls)
    detections = validator.detections()
    known = np.isin(detections[:, 0], [image["id"] for image in truth["images"]])
    objects = sum(len(image.classes) for image in images)
    return coco_metrics(truth, detections[known]) | {
        "ultralytics": {name: round(100 * float(own[key]), 3) if objects else None for name, key in _OWN.items()},
        "operating_points": operating_points(*validator.matched(), objects),
    }


def _ground_truth(
    images: list[LabelledImage],
    data: Dataset,
    split: str,
    reporter: Reporter | None,
    single_cls: bool,
) -> CocoJson:
    """Return the ground truth from the split's COCO annotations if there are any, else from its labels."""
    if split not in data.annotations:
        return from_labels(images, SINGLE if single_cls else data.names)
    truth, notes = from_annotations(data.annotations[split], images, data.names)
    for note in notes:
        if reporter is not None:
            reporter.emit(Warn(code="annotations_partly_used", message=note))
    if single_cls:
        truth["categories"] = [{"id": 0, "name": SINGLE[0]}]
        truth["annotations"] = [{**annotation, "category_id": 0} for annotation in truth["annotations"]]
    return truth


class Collector(DetectionValidator):
    """Ultralytics' validator, which also keeps up to 500 detections per image in px of the original image."""

    def __init__(
        self,
        folder: Path,
        imgsz: int,
        batch: int,
        split: str,
        device: str | None,
        reporter: Reporter | None,
        single_cls: bool,
        rect: bool = True,
    ) -> None:
        args = {
            "task": "detect", "mode": "val", "data": str(folder / "data.yaml"), "imgsz": imgsz, "batch": batch,
            "split": split, "device": device, "conf": 0.001, "single_cls": single_cls, "rect": rect, "workers": 0,
            "plots": False, "save_json": False, "verbose": False,
        }  # fmt: skip
        super().__init__(save_dir=folder, args=args)
        self._reporter = reporter
        self._rows: list[npt.NDArray[np.float64]] = []
        self._matched: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = []
        self._own_max_det = 0
        self._index: dict[str, int] = {}  # file -> image id
        self._sizes: dict[str, tuple[int, int]] = {}  # file -> height, width of the original image, px

    def build_dataset(self, img_path: str, mode: str = "val", batch: int | None = None) -> Any:
        """Build the dataset of a split from exactly the images and labels that were checked."""
        return loaded(self.args, img_path, batch or 1, self.data, mode, rect=False, stride=self.stride)

    def init_metrics(self, model: Any) -> None:
        """Store Ultralytics' own limit on detections, and raise it to what the COCO figures need."""
        super().init_metrics(model)
        self._own_max_det = self.args.max_det  # 300, or the most objects in one image
        self.args.max_det = max(self._own_max_det, *MAX_DETS)
        self._index = {file: i for i, file in enumerate(self.dataloader.dataset.im_files)}

    def update_metrics(self, preds: list[dict[str, Any]], batch: dict[str, Any]) -> None:
        """Feed Ultralytics' metric and keep the detections of one batch."""
        own = [{key: value[: self._own_max_det] for key, value in pred.items()} for pred in preds]
        super().update_metrics(own, batch)
        stats = self.metrics.stats  # Ultralytics clears them after computing its figures
        self._matched += zip(stats["conf"][-len(preds) :], stats["tp"][-len(preds) :], strict=True)
        for i, pred in enumerate(preds):
            image = self._prepare_batch(i, batch)
            self._sizes[image["im_file"]] = image["ori_shape"]
            boxes = self.scale_preds(pred, image)["bboxes"].cpu().numpy().astype(np.float64)
            scores = pred["conf"].cpu().numpy()
            index = np.full(len(boxes), self._index[image["im_file"]])
            wide_high = boxes[:, 2:] - boxes[:, :2]
            self._rows.append(np.column_stack([index, boxes[:, :2], wide_high, scores, pred["cls"].cpu().numpy()]))
        self._report()

    def _report(self) -> None:
        """Report how many images are done, and stop if requested."""
        if self._reporter is None:
            return
        self._reporter.emit(Progress(phase="evaluating", completed=self.seen, total=len(self._index), unit="image"))
        if self._reporter.should_stop():
            raise StopRequested("the evaluation was asked to stop")

    def plot_val_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Do nothing: a report has its own images."""

    def plot_predictions(
        self, batch: dict[str, Any], preds: list[dict[str, Any]], ni: int, max_det: int | None = None
    ) -> None:
        """Nothing, likewise."""

    def images(self) -> list[LabelledImage]:
        """Return the evaluated images with their labels, in the order of the detections' image ids."""
        return [
            LabelledImage(
                path=Path(label["im_file"]),
                height=self._sizes[label["im_file"]][0],
                width=self._sizes[label["im_file"]][1],
                classes=label["cls"].reshape(-1).astype(np.int64),
                boxes=label["bboxes"].astype(np.float64),
            )
            for label in self.dataloader.dataset.labels
        ]

    def matched(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the score of each detection that Ultralytics counts, and whether it found an object at an IoU of 0.5.

        Both are (N,).
        """
        if not self._matched:
            return np.zeros(0), np.zeros(0, dtype=bool)
        scores, hits = zip(*self._matched, strict=True)
        return np.concatenate(scores), np.concatenate([hit.reshape(-1, self.niou)[:, 0] for hit in hits]).astype(bool)

    def detections(self) -> npt.NDArray[np.float64]:
        """Return all detections: (N, 7) rows of image id, x, y, w, h (px), score, class."""
        return np.concatenate(self._rows) if self._rows else np.zeros((0, 7))
