"""Regenerated distillation: rebuild the teacher's map from the student's with the key pixels hidden.

Source: RDR-KD (IEEE GRSL 2024, 10.1109/LGRS.2024.3398140), section II-A, Eq. 1-6. Per level and image:

    F^t       teacher map              teacher    (B, C, H, W)
    F^s       aligned student map      student    (B, C, H, W)
    T         temperature              temperature
    A^s, A^c  attention, each mean 1   attention  (B, 1, H, W), (B, C, 1, 1)
    S_bbox    object area              areas      (Q,)
    M^s, M^c  masks, 0 = hidden        mask       (B, 1, H, W), (B, C, 1, 1)
    Omega_PM  procreate modules        ProcreateModules.spatial, .channel
    F_new     rebuilt student map      rebuilt    (B, C, H, W)

The masks carry no gradient. What is hidden is what must be regenerated: cells and channels that the teacher attends to
above the average, and every cell of a tiny object.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from rdrkd.boxes import Regions, object_areas, visibility
from rdrkd.losses.attention import channel_attention, spatial_attention
from rdrkd.losses.channels import deviation
from rdrkd.losses.context import Context, Output, Unaligned, level_name
from rdrkd.losses.generation_block import Form, generation_block, rebuild
from rdrkd.spec.losses import Regenerated


def tiny_objects(areas: Tensor, regions: Regions, tau_area: float) -> Tensor:
    """Mark the cells of tiny objects, (B, 1, H, W) bool, for object areas (Q,) in the unit of tau_area."""
    return regions.select(areas < tau_area).union().unsqueeze(1)


def compared_at(term: Regenerated, stride: int) -> int:
    """Return the px per cell at which the maps of a stride are compared."""
    return 2 * stride if stride == 4 and term.halve_p2 else stride


def spatial_mask(attention: Tensor, tiny: Tensor, tau_s: float) -> Tensor:
    """M^s (B, 1, H, W) in {0, 1} for A^s (B, 1, H, W) and the tiny objects' cells (B, 1, H, W) bool."""
    # Eq. 3
    hidden = (attention > tau_s) | tiny
    return (~hidden).to(attention.dtype)


def level_mask(term: Regenerated, teacher: Tensor, boxes: Tensor, regions: Regions, imgsz: tuple[int, int]) -> Tensor:
    """M^s (B, 1, H, W) of one level, as the term's settings make it, for clipped boxes (Q, 4) and their cells."""
    areas = object_areas(boxes, regions, imgsz, term.tau_area_unit)
    tiny = tiny_objects(areas, regions, term.tau_area)
    return spatial_mask(spatial_attention(teacher, term.temperature), tiny, term.tau_s)


def channel_mask(attention: Tensor, tau_c: float) -> Tensor:
    """M^c (B, C, 1, 1) in {0, 1} for A^c (B, C, 1, 1)."""
    # Eq. 4
    hidden = attention > tau_c
    return (~hidden).to(attention.dtype)


def regenerated_loss(
    teacher: Tensor, rebuilt: Tensor, reduction: Literal["sum", "mean"] = "sum", weight: Tensor | None = None
) -> Tensor:
    """L_mask of one level: squared distance of the rebuilt student map to the teacher's, both (B, C, H, W).

    Args:
        teacher: F^t, detached here.
        rebuilt: F_new.
        reduction: over channels and cells.
        weight: (B, 1, H, W) weight of each cell; 1 by default.

    Returns:
        Scalar, the mean over images of the sum (or the mean) over channels and cells.
    """
    # Eq. 6
    distance = (teacher.detach() - rebuilt).square()
    loss = (distance if weight is None else weight * distance).sum((1, 2, 3)).mean()
    return loss if reduction == "sum" else loss / teacher[0].numel()


def cell_weight(seen: Tensor, regions: Regions) -> Tensor:
    """Return the weight of each cell, (B, 1, H, W): on objects the largest of their weights (Q,), elsewhere 1."""
    return torch.where(regions.union(), regions.paint(seen, "max"), 1.0).unsqueeze(1)


class ProcreateModules(nn.Module):
    """The procreate modules of one level; they train with the student and are never exported.

    PM_s is MGD's generation block, conv3x3-ReLU-conv3x3. A channel mask leaves the space intact, so that PM_c mixes
    channels only, conv1x1-ReLU-conv1x1, unless `channel_kernel` is 3. `fusion="learned"` weighs the two maps by two
    learned numbers that start at 1, so that it starts as the plain sum. `generation` names a cheaper form of PM_s.
    """

    def __init__(
        self, channels: int, channel_kernel: int, fusion: Literal["sum", "learned"], generation: Form = "full"
    ) -> None:
        super().__init__()
        self.spatial = generation_block(channels, form=generation)
        self.channel = generation_block(channels, channel_kernel)
        self.fusion = nn.Parameter(torch.ones(2)) if fusion == "learned" else None

    def forward(self, student: Tensor, mask_s: Tensor, mask_c: Tensor, before: Unaligned | None = None) -> Tensor:
        """F_new (B, C, H, W) of the aligned student map (B, C, H, W) and the masks (B, 1, H, W), (B, C, 1, 1).

        With the map `before` its adapter the first convolution may run at the student's width.
        """
        by_cell, by_channel = rebuild(self.spatial, student, mask_s, before), self.channel(student * mask_c)
        if self.fusion is not None:
            by_cell, by_channel = self.fusion[0] * by_cell, self.fusion[1] * by_channel
        # Eq. 5
        rebuilt: Tensor = by_cell + by_channel
        return rebuilt


class RegeneratedTerm(nn.Module):
    """The term: one set of procreate modules per level."""

    def __init__(self, term: Regenerated, teacher_channels: dict[int, int]) -> None:
        super().__init__()
        self.term = term
        self.procreate = nn.ModuleDict(
            {
                level_name(stride): ProcreateModules(
                    teacher_channels[stride], term.channel_kernel, term.fusion, term.generation
                )
                for stride in term.levels
            }
        )

    def forward(self, context: Context) -> Output:
        """Sum over the levels of the mean over images of L_mask; shares: hidden cells and channels per level."""
        levels: dict[str, Tensor] = {}
        shares: dict[str, Tensor] = {}
        objects = context.located()
        for stride in self.term.levels:
            name = level_name(stride)
            teacher, student, before, cell = self._maps(context, stride)
            batch, _, height, width = teacher.shape
            regions = objects.on(cell, (batch, height, width))
            mask_s = level_mask(self.term, teacher, objects.boxes, regions, context.imgsz)
            mask_c = channel_mask(channel_attention(teacher, self.term.temperature), self.term.tau_c)
            with context.autocast():
                rebuilt = self.procreate[name](student, mask_s, mask_c, before)
            rebuilt = rebuilt.to(teacher.dtype)
            if self.term.standardize:
                teacher, rebuilt = (x / deviation(teacher) for x in (teacher, rebuilt))
            weight = cell_weight(visibility(objects.boxes, cell), regions) if self.term.by_visibility else None
            levels[name] = regenerated_loss(teacher, rebuilt, self.term.reduction, weight)
            shares |= {f"{name}/hidden_cells": 1 - mask_s.mean(), f"{name}/hidden_channels": 1 - mask_c.mean()}
        return Output.of(levels, shares)

    def _maps(self, context: Context, stride: int) -> tuple[Tensor, Tensor, Unaligned | None, int]:
        """Return the level's maps, the student's also before its adapter, and the px per cell.

        The mean over 2 x 2 cells and the adapter may come in either order.
        """
        teacher, student = context.maps(stride)
        before = context.unaligned.get(stride)
        cell = compared_at(self.term, stride)
        if cell == stride:
            return teacher, student, before, cell
        halved = before and replace(before, map=avg_pool2d(before.map, 2))
        return avg_pool2d(teacher, 2), avg_pool2d(student, 2), halved, cell
