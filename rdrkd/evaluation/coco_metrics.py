"""Average precision by the COCO protocol from ground truth and detections; no model, no files.

AP is the mean over IoU thresholds .50:.05:.95 of the 101-point interpolated precision, averaged over the classes that
have objects (Lin et al., "Microsoft COCO", 2014; the evaluation is faster-coco-eval's). Detections are limited to 100
per image and class (COCO's usual figure) and to 500 (drone images often hold more than 100 objects). Detections that
fall into a crowd region and match nothing else are not counted.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_DETS = (100, 500)
FIGURES = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
# Figure -> index of its area range (all, small < 32^2 px, medium, large > 96^2 px), and its IoU threshold.
_AREA = {"AP": 0, "AP50": 0, "AP75": 0, "AP_S": 1, "AP_M": 2, "AP_L": 3}
_IOU_INDEX = {"AP50": 0, "AP75": 5}

Figures = dict[str, float | None]


def coco_metrics(ground_truth: Mapping[str, Any], detections: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Compute the COCO figures, in percent; a figure without any object to find is None (COCO's -1).

    Args:
        ground_truth: COCO JSON: `images` ({id, width, height}), `categories` ({id, name}) and `annotations`
            ({id, image_id, category_id, bbox [x, y, w, h] px, area px^2, iscrowd}); ids are any integers, annotations'
            from 1.
        detections: (N, 7) rows of image id, x, y, w, h (px of the original image), score, category id.

    Returns:
        `coco` and `coco_maxdets500`: AP, AP50, AP75, AP_S, AP_M, AP_L; `per_class`: class name -> AP, AP50 at
        maxDets 100.
    """
    precision = _precision(ground_truth, detections)
    categories = sorted(ground_truth["categories"], key=lambda category: category["id"])
    coco, coco500 = ({name: _figure(precision[..., m], name) for name in FIGURES} for m in range(len(MAX_DETS)))
    per_class = {
        category["name"]: {name: _figure(precision[:, :, k : k + 1, :, 0], name) for name in ("AP", "AP50")}
        for k, category in enumerate(categories)
    }
    return {"coco": coco, "coco_maxdets500": coco500, "per_class": per_class}


def _precision(ground_truth: Mapping[str, Any], detections: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the precision table (IoU threshold, recall point, class, area range, maxDets); -1 without objects."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(copy.deepcopy(dict(ground_truth)))  # a copy: it modifies the annotations
    evaluation = COCOeval_faster(truth, truth.loadRes(detections), iouType="bbox", print_function=_silent)
    evaluation.params.maxDets = list(MAX_DETS)
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"], dtype=np.float64)


def _figure(precision: npt.NDArray[np.float64], name: str) -> float | None:
    """Read one figure from a precision table (IoU threshold, recall point, class, area range)."""
    table = precision[:, :, :, _AREA[name]]
    if name in _IOU_INDEX:
        table = table[_IOU_INDEX[name]]
    known = table[table > -1]
    return round(100 * float(known.mean()), 3) if known.size else None


def _silent(*_: object) -> None:
    """Replace faster-coco-eval's printing."""
