"""Boxes in pixels of the network input and on the cells of a level: clipping, rasterisation, painting, IoU losses.

A level of stride r is a map of H x W cells; the cell in row i and column j is the square of r x r input pixels whose
upper left corner is (j r, i r). A box covers every cell that it touches. Nothing here carries a gradient except
`eiou_loss` and `giou_loss`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

# Cells listed at once when regions are painted. A crowded mosaic holds 1000 boxes on 160 x 160 cells: a dense mask per
# box would take 100 MB per image; the list of covered cells only holds these, and is processed in chunks of this size.
CELLS_AT_ONCE = 1 << 20
EPS = 1e-7


def clip_boxes(boxes: Tensor, box_image: Tensor, imgsz: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Clip boxes to the network input and drop those without an area there.

    Args:
        boxes: (N, 4) xyxy, px of the network input.
        box_image: (N,) index of the image each box lies in.
        imgsz: (height, width) of the network input, px.

    Returns:
        The boxes that remain (Q, 4) and their images (Q,), in the given order.
    """
    height, width = imgsz
    boxes = torch.stack([boxes[:, side].clamp(0, (width, height)[side % 2]) for side in range(4)], dim=1)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return boxes[kept], box_image[kept]


def box_areas(boxes: Tensor) -> Tensor:
    """Areas (N,) in px^2 of boxes (N, 4) xyxy px.

    >>> box_areas(torch.tensor([[0.0, 0.0, 4.0, 2.5]]))
    tensor([10.])
    """
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def visibility(boxes: Tensor, stride: int) -> Tensor:
    """Return the share (N,) of a cell of a level that boxes (N, 4) xyxy px fill, at most 1.

    >>> visibility(torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 40.0, 40.0]]), 16)
    tensor([0.2500, 1.0000])
    """
    return (box_areas(boxes) / stride**2).clamp(max=1)


@dataclass(frozen=True)
class Regions:
    """The cells that Q boxes cover on one level of B images of H x W cells.

    Attributes:
        image: (Q,) index of the image, long.
        ranges: (Q, 4) x1, y1, x2, y2, long: columns x1..x2-1 of rows y1..y2-1, at least one cell.
        shape: (B, H, W).
    """

    image: Tensor
    ranges: Tensor
    shape: tuple[int, int, int]

    @property
    def sizes(self) -> Tensor:
        """S_q (Q,): the number of cells of each region, long."""
        x1, y1, x2, y2 = self.ranges.unbind(1)
        return (x2 - x1) * (y2 - y1)

    def select(self, kept: Tensor) -> "Regions":
        """Return the regions selected by the mask `kept` (Q,) bool."""
        return Regions(self.image[kept], self.ranges[kept], self.shape)

    def paint(self, values: Tensor, overlap: Literal["max", "sum"]) -> Tensor:
        """Write each region's value on its cells.

        Args:
            values: (Q,) one value per region, not negative.
            overlap: value of a cell of several regions: the largest of their values, or their sum.

        Returns:
            (B, H, W); 0 outside all regions.
        """
        batch, height, width = self.shape
        canvas = values.new_zeros(batch * height * width)
        for region, cell in self._pairs():
            if overlap == "max":
                canvas.scatter_reduce_(0, cell, values[region], "amax")
            else:
                canvas.index_add_(0, cell, values[region])
        return canvas.view(self.shape)

    def union(self) -> Tensor:
        """(B, H, W) bool: the cells that any region covers."""
        return self._union

    @cached_property
    def _union(self) -> Tensor:
        return self.paint(torch.ones_like(self.image, dtype=torch.float32), "max") > 0

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every pair (region, covered cell of the flattened maps) as two index tensors, in chunks."""
        _, height, width = self.shape
        sizes = self.sizes
        piece = (sizes.cumsum(0) - 1) // CELLS_AT_ONCE
        lengths: list[int] = torch.unique_consecutive(piece, return_counts=True)[1].tolist()
        first = 0
        for length in lengths:
            part = slice(first, first := first + length)
            x1, y1, x2, _ = self.ranges[part].unbind(1)
            region = torch.arange(length, device=sizes.device).repeat_interleave(sizes[part])
            start = sizes[part].cumsum(0) - sizes[part]
            within = torch.arange(len(region), device=sizes.device) - start[region]
            columns = (x2 - x1)[region]
            row, column = y1[region] + within // columns, x1[region] + within % columns
            yield region + part.start, (self.image[part][region] * height + row) * width + column


def rasterise(boxes: Tensor, box_image: Tensor, stride: int, shape: tuple[int, int, int]) -> Regions:
    """Find the cells that boxes cover: floor of the near edge, ceil of the far one, clipped, at least one cell.

    Args:
        boxes: (Q, 4) xyxy, px, clipped to the network input (`clip_boxes`).
        box_image: (Q,) index of the image each box lies in.
        stride: px per cell.
        shape: (B, H, W) of the level.

    >>> rasterise(torch.tensor([[7.0, 8.0, 9.0, 16.0]]), torch.tensor([0]), 8, (1, 4, 4)).ranges
    tensor([[0, 1, 2, 2]])
    """
    _, height, width = shape
    x1, y1 = ((boxes[:, side] / stride).floor().long() for side in (0, 1))
    x2, y2 = ((boxes[:, side] / stride).ceil().long() for side in (2, 3))
    x1, y1 = x1.clamp(0, width - 1), y1.clamp(0, height - 1)
    x2, y2 = torch.maximum(x2.clamp(max=width), x1 + 1), torch.maximum(y2.clamp(max=height), y1 + 1)
    return Regions(box_image.long(), torch.stack([x1, y1, x2, y2], dim=1), shape)


class Objects:
    """The clipped ground truth of a batch, and its cells on every level, computed once for all terms.

    Attributes:
        boxes: (Q, 4) xyxy, px of the network input.
        image: (Q,) index of the image each box lies in.
        imgsz: (height, width) of the network input, px.
    """

    def __init__(self, boxes: Tensor, box_image: Tensor, imgsz: tuple[int, int]) -> None:
        self.boxes, self.image = clip_boxes(boxes, box_image, imgsz)
        self.imgsz = imgsz
        self._regions: dict[tuple[int, tuple[int, int, int]], Regions] = {}

    def on(self, stride: int, shape: tuple[int, int, int]) -> Regions:
        """Return the objects' cells on a level of some px per cell and shape (B, H, W)."""
        key = stride, shape
        if key not in self._regions:
            self._regions[key] = rasterise(self.boxes, self.image, stride, shape)
        return self._regions[key]


def object_areas(
    boxes: Tensor, regions: Regions, imgsz: tuple[int, int], unit: Literal["input_px", "image", "cells"]
) -> Tensor:
    """Areas (Q,) of clipped boxes (Q, 4): in px^2, as share of the network input, or in cells of the level."""
    if unit == "cells":
        return regions.sizes.to(boxes.dtype)
    return box_areas(boxes) / (imgsz[0] * imgsz[1] if unit == "image" else 1)


def eiou_loss(boxes: Tensor, others: Tensor, focal: bool = False) -> Tensor:
    """Efficient IoU loss of pairs of boxes (Zhang et al., arXiv 2101.08158); not mmdet's loss of that name.

    L = 1 - IoU + rho^2(centres) / (Cw^2 + Ch^2) + (w - w')^2 / Cw^2 + (h - h')^2 / Ch^2, with Cw and Ch the sides of
    the smallest box that encloses both. Symmetric; 0 at equality; unchanged when both boxes are scaled.

    A head without DFL can predict an inverted box, a teacher's as well as a student's. It overlaps nothing, and the
    enclosing box holds all its corners: the loss stays at most 10, and the side terms pull it back.

    Args:
        boxes: (..., 4) xyxy.
        others: (..., 4) xyxy.
        focal: multiply each loss by IoU^0.5 (Focal-EIoU). The factor carries no gradient: it is a weight, and the root
            has no finite slope at IoU 0.

    Returns:
        (...) one loss per pair, not reduced.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    u1, v1, u2, v2 = others.unbind(-1)
    w, h, w_, h_ = x2 - x1, y2 - y1, u2 - u1, v2 - v1
    overlap = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0) * (
        torch.minimum(y2, v2) - torch.maximum(y1, v1)
    ).clamp(min=0)
    iou = overlap / (w * h + w_ * h_ - overlap + EPS)
    cw2, ch2 = (_extent(torch.stack(corners)).square() for corners in ((x1, x2, u1, u2), (y1, y2, v1, v2)))
    rho2 = ((x1 + x2 - u1 - u2).square() + (y1 + y2 - v1 - v2).square()) / 4
    loss = 1 - iou + rho2 / (cw2 + ch2 + EPS) + (w - w_).square() / (cw2 + EPS) + (h - h_).square() / (ch2 + EPS)
    return iou.detach().sqrt() * loss if focal else loss


def giou_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU loss of pairs of boxes (Rezatofighi et al., CVPR 2019, arXiv 1902.09630).

    L = 1 - IoU + (C - U) / C, with U the area of the boxes' union and C that of the smallest box that encloses both.
    Symmetric; 0 at equality, below 2; unchanged when both boxes are scaled.

    A head without DFL can predict an inverted box. It overlaps nothing, its area counts as negative, and C encloses
    all its corners: the loss is at most 3, or 4 of two such boxes, and pulls it back. Published codes know no such box.

    Args:
        boxes: (..., 4) xyxy.
        others: (..., 4) xyxy.

    Returns:
        (...) one loss per pair, not reduced.

    >>> giou_loss(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 3.0, 2.0]))
    tensor(0.6667)
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    low_, high_ = others[..., :2], others[..., 2:]
    width, height = (torch.minimum(high, high_) - torch.maximum(low, low_)).clamp(min=0).unbind(-1)
    overlap = width * height
    union = _signed_area(high - low) + _signed_area(high_ - low_) - overlap
    corners = torch.stack([low, high, low_, high_])
    width, height = _extent(corners).unbind(-1)
    enclosing = (width * height).clamp(min=EPS)
    return 1 - overlap / union.clamp(min=EPS) + (enclosing - union) / enclosing


def _extent(corners: Tensor) -> Tensor:
    """Return how far corners (N, ...) lie apart, (...)."""
    return corners.amax(0) - corners.amin(0)


def _signed_area(sides: Tensor) -> Tensor:
    """Areas (...) of boxes with sides (..., 2); of an inverted one negative, also where both sides are."""
    area = sides[..., 0] * sides[..., 1]
    return torch.where((sides < 0).all(-1), -area, area)
