"""Overlays that show where two terms of RDR-KD act in an image, with one pixel per cell of a level.

`regenerated`: the key pixels, which are hidden from the student and must be regenerated (Eq. 3).
`decoupled`: the weight of each cell of an object (Eq. 7-8), as opacity.

The image is processed as in validation: whole and letterboxed, without the training's augmentation.
"""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from rdrkd.boxes import Regions, clip_boxes, rasterise
from rdrkd.data.pixels import Pixels
from rdrkd.distillation.adapters import taps_of
from rdrkd.distillation.enlarged_teacher import enlarge, resample_maps
from rdrkd.export.agreement import inputs
from rdrkd.losses.context import level_name
from rdrkd.losses.decoupled import level_weight
from rdrkd.losses.regenerated import compared_at, level_mask
from rdrkd.models.frozen import frozen
from rdrkd.models.levels import Tap, forward, levels_of
from rdrkd.spec import Decoupled, Recipe, Regenerated
from rdrkd.ultralytics_adapter import DetectionModel

_KEY, _WEIGHT = (230, 120, 0), (0, 90, 220)  # RGB
_STRONGEST, _VEIL = 170, 130  # of 255


class Overlays:
    """Makes the overlays of images.

    Args:
        teacher: its attention determines the key pixels.
        recipe: the terms; other terms have no overlays.
        imgsz: side of the network input, px.
        device: device that runs the teacher.
    """

    def __init__(self, teacher: DetectionModel, recipe: Recipe, imgsz: int, device: torch.device) -> None:
        self._terms = [term for term in recipe.terms if isinstance(term, Decoupled | Regenerated)]
        self._imgsz, self._device, self._scale = imgsz, device, recipe.teacher_scale
        taps = sorted({tap for term in self._terms if isinstance(term, Regenerated) for tap in taps_of(term)})
        self._levels = levels_of(teacher, taps, "teacher")
        self._teacher = frozen(teacher).to(device) if taps else None

    def __call__(self, pixels: Pixels, truth: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        """Return the overlays of an image: term, level, PNG in base64, and its place in the image, x y w h px.

        Args:
            pixels: (H, W, 3) blue, green, red.
            truth: (N, 5) rows of class, x, y, width, height in px.
        """
        (image,) = inputs([pixels], self._imgsz, self._imgsz)
        factor, left, top = _letterboxed(pixels.shape[0], pixels.shape[1], self._imgsz)
        low = torch.from_numpy(truth[:, 1:3]).float() * factor + torch.tensor([left, top])
        boxes = torch.cat([low, low + torch.from_numpy(truth[:, 3:5]).float() * factor], dim=1)
        boxes, of = clip_boxes(boxes, torch.zeros(len(boxes), dtype=torch.long), (self._imgsz, self._imgsz))
        place = [-left / factor, -top / factor, self._imgsz / factor, self._imgsz / factor]
        maps = self._maps(image)
        return [
            {
                "term": term.name, "level": level_name(stride), "place": [round(value, 2) for value in place],
                "png": base64.b64encode(self._picture(term, stride, boxes, of, maps)).decode(),
            }
            for term in self._terms
            for stride in term.levels
        ]  # fmt: skip

    @torch.inference_mode()
    def _maps(self, image: Tensor) -> dict[Tap, Tensor]:
        if self._teacher is None:
            return {}
        layers = {level.layer for level in self._levels.values()}
        _, found = forward(self._teacher, enlarge(image.to(self._device), self._scale), layers, decode=False)
        maps = {tap: found[level.layer].float().cpu() for tap, level in self._levels.items()}
        return resample_maps(maps, (self._imgsz, self._imgsz))

    def _picture(
        self, term: Decoupled | Regenerated, stride: int, boxes: Tensor, of: Tensor, maps: dict[Tap, Tensor]
    ) -> bytes:
        cell = compared_at(term, stride) if isinstance(term, Regenerated) else stride
        size, side = (self._imgsz, self._imgsz), self._imgsz // cell
        regions: Regions = rasterise(boxes, of, cell, (1, side, side))
        if isinstance(term, Regenerated):
            teacher = avg_pool2d(maps[term.layers, stride], cell // stride)
            hidden = 1 - level_mask(term, teacher, boxes, regions, size)[0, 0]
            return _png(hidden * _VEIL, _KEY)
        weight = level_weight(term, boxes, regions, stride, size)[0]
        # The square root, since a tiny object may weigh hundreds of times as much as a large one.
        return _png((weight / weight.max().clamp(min=1e-12)).sqrt() * _STRONGEST, _WEIGHT)


def _letterboxed(height: int, width: int, side: int) -> tuple[float, int, int]:
    """Return Ultralytics' letterbox of an image: scale factor, and the left and upper margin, px."""
    factor = min(side / height, side / width)
    return factor, round((side - round(width * factor)) / 2 - 0.1), round((side - round(height * factor)) / 2 - 0.1)


def _png(alpha: Tensor, colour: tuple[int, int, int]) -> bytes:
    """Write a map (H, W) of 0..255 as the opacity of a colour."""
    cells = np.asarray(alpha.round().numpy(), dtype=np.uint8)
    layers = [np.full_like(cells, value) for value in colour]
    target = io.BytesIO()
    Image.fromarray(np.dstack([*layers, cells])).save(target, "PNG", optimize=True)
    return target.getvalue()
