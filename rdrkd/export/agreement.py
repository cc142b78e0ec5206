"""Differences between the predictions of an exported network and torch's, on real images."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rdrkd.data.pixels import Pixels
from rdrkd.export.networks import Network
from rdrkd.ultralytics_adapter import LetterBox, box_iou, non_max_suppression

NMS_IOU = 0.7
SAME_IOU = 0.5  # least IoU at which two detections of one class count as the same


def spread(files: Sequence[Path], most: int) -> list[Path]:
    """Choose at most `most` files, spread evenly over all of them.

    >>> [path.name for path in spread([Path(f"{n}.jpg") for n in range(10)], 3)]
    ['0.jpg', '3.jpg', '6.jpg']
    """
    count = min(most, len(files))
    return [files[n * len(files) // count] for n in range(count)]


def inputs(images: Iterable[Pixels], height: int, width: int) -> Iterator[Tensor]:
    """Yield each image as network input: (1, 3, height, width), RGB in [0, 1], letterboxed."""
    letterbox = LetterBox((height, width), auto=False)
    for image in images:
        pixels = np.ascontiguousarray(letterbox(image=image)[..., ::-1].transpose(2, 0, 1))
        yield torch.from_numpy(pixels).float()[None] / 255


def compare(ours: Network, exported: Network, images: Sequence[Tensor], conf: float) -> dict[str, Any]:
    """Compare two networks' raw outputs and detections.

    Args:
        ours: the network in torch.
        exported: the exported network.
        images: each (B, 3, H, W).
        conf: least score of a detection.

    Returns:
        `images`; `boxes_px` and `scores`, the largest and the mean absolute difference of the raw outputs over all
        anchors; `detections` after non-maximum suppression (see `match`).
    """
    boxes, scores = _Differences(), _Differences()
    matches: list[dict[str, Any]] = []
    for image in images:
        wanted, got = ours(image), exported(image)
        difference = (wanted - got).abs()
        boxes.add(difference[:, :4])
        scores.add(difference[:, 4:])
        matches += map(match, _detections(wanted, conf), _detections(got, conf))
    return {
        "images": len(matches),
        "boxes_px": boxes.summary(),
        "scores": scores.summary(),
        "detections": {"conf": conf, "iou": SAME_IOU, **_sum(matches)},
    }


def match(wanted: Tensor, got: Tensor) -> dict[str, Any]:
    """Pair two sets of detections one to one: of the same class, best overlap first, IoU at least `SAME_IOU`.

    Args:
        wanted: torch's, (N, 6) rows of x1 y1 x2 y2 px, score, class.
        got: the exported network's, (M, 6) likewise.

    Returns:
        `torch`, `exported` and `matched` are counts; `max_box_px` and `max_score` are the largest differences among
        matched detections, None if there are none.
    """
    overlap = box_iou(wanted[:, :4], got[:, :4]) * (wanted[:, 5:6] == got[None, :, 5])
    pairs = []
    while overlap.numel() and float(overlap.max()) >= SAME_IOU:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        pairs.append((row, column))
        overlap[row], overlap[:, column] = 0, 0
    difference = torch.stack([(wanted[r] - got[c]).abs() for r, c in pairs]) if pairs else None
    return {
        "torch": len(wanted),
        "exported": len(got),
        "matched": len(pairs),
        "max_box_px": None if difference is None else float(difference[:, :4].max()),
        "max_score": None if difference is None else float(difference[:, 4].max()),
    }


class _Differences:
    """The largest and the mean of many absolute differences."""

    def __init__(self) -> None:
        self._largest, self._sum, self._count = 0.0, 0.0, 0

    def add(self, differences: Tensor) -> None:
        self._largest = max(self._largest, float(differences.max()))
        self._sum += float(differences.double().sum())
        self._count += differences.numel()

    def summary(self) -> dict[str, float]:
        return {"max_abs": self._largest, "mean_abs": self._sum / self._count}


def _detections(output: Tensor, conf: float) -> list[Tensor]:
    found: list[Tensor] = non_max_suppression(output.clone(), conf_thres=conf, iou_thres=NMS_IOU)
    return found


def _sum(matches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {key: sum(each[key] for each in matches) for key in ("torch", "exported", "matched")}
    for key in ("max_box_px", "max_score"):
        summary[key] = max((each[key] for each in matches if each[key] is not None), default=None)
    return summary
