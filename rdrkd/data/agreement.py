"""Compare YOLO labels with the COCO JSON beside them: training reads the labels, evaluation the JSON."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rdrkd.data.frames import Box, Frame

_PIXELS, _SHARE = 1.0, 0.02  # tolerance of an edge: px, or a share of its box's side, whichever is larger


def disagreement(labelled: Sequence[Box], frame: Frame, names: Sequence[str]) -> str | None:
    """Return how an image's COCO entry differs from its labels, or None.

    Boxes are clipped to the image, as converters do. Labels cannot mark a box as ignored, so they may contain it.

    Args:
        labelled: the boxes of the label file.
        frame: the entry, with its boxes.
        names: class names by class number.
    """
    counted = [box for box in frame.boxes if not box.ignored]
    ignored = [box for box in frame.boxes if box.ignored]
    same, also_ignored = _same(labelled, counted, frame), _same(labelled, ignored, frame)
    is_counted, is_ignored = np.any(same, axis=1).tolist(), np.any(also_ignored, axis=1).tolist()
    for box, *found in zip(labelled, is_counted, is_ignored, strict=True):
        if not any(found):
            return f"expected the boxes of its label file, got none like {_shown(box, names)}"
    for box, is_label in zip(counted, np.any(same, axis=0).tolist(), strict=True):
        if not is_label:
            return f"expected the boxes of its label file, got another one: {_shown(box, names)}"
    once = sum(is_counted)
    if len(counted) != once:
        return f"expected the {once} boxes of its label file, got {len(counted)}"
    return None


def _same(labelled: Sequence[Box], annotated: Sequence[Box], frame: Frame) -> npt.NDArray[np.bool_]:
    """Return which labels (rows) are which annotations (columns)."""
    if not labelled or not annotated:
        return np.zeros((len(labelled), len(annotated)), dtype=bool)
    one, other = _corners(labelled, frame)[:, None], _corners(annotated, frame)[None]
    sides = np.tile(one[..., 2:] - one[..., :2], 2)
    near = np.abs(one - other) <= np.maximum(_PIXELS, _SHARE * sides)
    classes = [np.array([-1 if box.label is None else box.label for box in boxes]) for boxes in (labelled, annotated)]
    alike = (classes[0][:, None] == classes[1][None]) | (classes[1][None] == -1)
    result: npt.NDArray[np.bool_] = near.all(-1) & alike
    return result


def _corners(boxes: Sequence[Box], frame: Frame) -> npt.NDArray[np.float64]:
    corners = np.array([(box.x, box.y, box.x + box.width, box.y + box.height) for box in boxes])
    cut: npt.NDArray[np.float64] = np.clip(corners, 0, [frame.width, frame.height] * 2)
    return cut


def _shown(box: Box, names: Sequence[str]) -> str:
    place = ", ".join(f"{value:.6g}" for value in (box.x, box.y, box.width, box.height))
    return f"{names[box.label] if box.label is not None else 'an ignored region'} at {place}"
