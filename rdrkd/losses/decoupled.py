"""Decoupled distillation: mimic the teacher's foreground, small objects first, and its background apart.

Source: RDR-KD (IEEE GRSL 2024, 10.1109/LGRS.2024.3398140), section II-B, Eq. 7-8. Per level and image with Q objects:

    F^t          teacher map                teacher     (B, C, H, W)
    F^s          aligned student map        student     (B, C, H, W)
    x_q          area of object q           areas       (Q,)
    W_q          weight of object q         weights     (Q,), sums to 1 over an image
    S_q          divisor, its cells         divisor     (Q,)
    G = W_q/S_q  weight of a cell           cell_weight (B, H, W), 0 outside the objects
    fore, back   object cells, the rest     foreground  (B, H, W) bool

The weights carry no gradient. In Eq. 7 the constants 1 and b cancel: b has no effect, and is kept because the paper
names it.
"""

from typing import Literal

import torch
from torch import Tensor

from rdrkd.boxes import Regions, object_areas, visibility
from rdrkd.losses.channels import deviation
from rdrkd.losses.context import Context, Output, level_name
from rdrkd.spec.losses import Decoupled


def area_softmax(areas: Tensor, group: Tensor, groups: int, temperature: float = 20.0, b: float = 0.005) -> Tensor:
    """W_q (Q,): weights that fall with the area and sum to 1 over each group (the objects of one image).

    Args:
        areas: (Q,) x_q.
        group: (Q,) index of the group of each object, long.
        groups: number of groups; a group may be empty.
        temperature: T_s.
        b: b, without effect.
    """
    exponent = (1 - areas - b) / temperature
    top = exponent.new_full((groups,), -torch.inf).scatter_reduce_(0, group, exponent, "amax")
    power = (exponent - top[group]).exp()  # the largest is 1: nothing overflows, no sum is 0
    # Eq. 7
    return power / power.new_zeros(groups).index_add_(0, group, power)[group]


def cell_weight(
    regions: Regions,
    areas: Tensor,
    weights: Tensor,
    divisor: Tensor,
    overlap: Literal["max", "sum", "smallest", "mean"] = "max",
) -> Tensor:
    """G (B, H, W): W_q / S_q on the cells of object q.

    Args:
        regions: the objects' cells.
        areas: (Q,) x_q; determines which object is the smallest.
        weights: (Q,) W_q.
        divisor: (Q,) S_q.
        overlap: value of a cell of several objects: the largest of their W_q / S_q, the sum, that of the smallest
            object, or the mean.
    """
    values = weights / divisor
    if overlap == "max":
        return regions.paint(values, "max")
    if overlap == "smallest":
        # The smallest object comes last and wins; among equals the heaviest, so that the boxes' order does not matter.
        order = values.argsort()
        order = order[areas[order].argsort(descending=True, stable=True)]
        ranks = torch.arange(1, len(order) + 1, device=values.device, dtype=torch.float64)
        winner = regions.paint(torch.zeros_like(ranks).index_copy_(0, order, ranks), "max").long()
        return torch.cat([values.new_zeros(1), values[order]])[winner]
    total = regions.paint(values, "sum")
    return total if overlap == "sum" else total / regions.paint(torch.ones_like(values), "sum").clamp(min=1)


def decoupled_loss(
    teacher: Tensor,
    student: Tensor,
    weight: Tensor,
    foreground: Tensor,
    alpha: float = 0.5,
    beta: float = 0.5,
    background_norm: Literal["cells", "elements", "none"] = "cells",
) -> Tensor:
    """L_decouple of one level for maps (B, C, H, W), G (B, H, W) and the object cells (B, H, W) bool.

    The background sum is divided by N_bg, its number of cells in the image (at least 1), by N_bg x C, or not at all.

    Returns:
        Scalar, the mean over images of the sum over channels and cells; 0 x sum where an image lacks either part.
    """
    distance = (teacher.detach() - student).square().sum(1)
    back = (~foreground).to(distance.dtype)
    n_bg = back.sum((1, 2)).clamp(min=1)
    divisor = {"cells": n_bg, "elements": n_bg * teacher.shape[1], "none": torch.ones_like(n_bg)}[background_norm]
    # Eq. 8
    per_image = alpha * (weight * distance).sum((1, 2)) + beta * (back * distance).sum((1, 2)) / divisor
    return per_image.mean()


def decoupled_term(term: Decoupled, context: Context) -> Output:
    """Sum over the levels of the mean over images of L_decouple; shares: the background's cells per level."""
    levels: dict[str, Tensor] = {}
    shares: dict[str, Tensor] = {}
    objects = context.located()
    for stride in term.levels:
        teacher, student = context.maps(stride)
        batch, _, height, width = teacher.shape
        regions = objects.on(stride, (batch, height, width))
        weight = level_weight(term, objects.boxes, regions, stride, context.imgsz)
        foreground = regions.union()
        name = level_name(stride)
        if term.standardize:
            teacher, student = (x / deviation(teacher) for x in (teacher, student))
        levels[name] = decoupled_loss(teacher, student, weight, foreground, term.alpha, term.beta, term.background_norm)
        shares[f"{name}/background"] = (~foreground).float().mean()
    return Output.of(levels, shares)


def level_weight(term: Decoupled, boxes: Tensor, regions: Regions, stride: int, imgsz: tuple[int, int]) -> Tensor:
    """G (B, H, W) of one level, as the term's settings make it, for clipped boxes (Q, 4) and their cells."""
    areas = object_areas(boxes, regions, imgsz, term.area_unit)
    weights = _object_weights(term, areas, regions)
    if term.by_visibility:
        weights = weights * visibility(boxes, stride)
    return cell_weight(regions, areas, weights, object_areas(boxes, regions, imgsz, term.divisor_unit), term.overlap)


def _object_weights(term: Decoupled, areas: Tensor, regions: Regions) -> Tensor:
    batch = regions.shape[0]
    if term.softmax_over == "image":
        return area_softmax(areas, regions.image, batch, term.temperature, term.b)
    # One softmax over the batch is already the average over it; times B, because the loss averages over images again.
    return batch * area_softmax(areas, torch.zeros_like(regions.image), 1, term.temperature, term.b)
