"""Focal and global distillation (FGD): objects and background separately, attention, and relations between cells.

Source: Yang et al., CVPR 2022, arXiv 2111.11837. Per level and image:

    F^t, F^s   teacher map, aligned student map              teacher, student         (B, C, H, W)
    A^s, A^c   attention, each mean 1, of either map         attention                (B, 1, H, W), (B, C, 1, 1)
    M_fg       1 / cells of the smallest object there        foreground               (B, H, W), 0 outside the objects
    M_bg       1 / background cells                          background               (B, H, W), 0 on the objects
    R_t, R_s   global context blocks, both of them trained   FgdTerm.teacher, .student

    L_fg, L_bg = sum A^s_t A^c_t M (F^t - F^s)^2                     with M_fg, M_bg and the teacher's attention
    L_att      = sum |A^s_t - A^s_s| + sum |A^c_t - A^c_s|
    L_rel      = sum (R_t(F^t) - R_s(F^s))^2

All are sums over channels and cells, averaged over images. Masks and the teacher's attention carry no gradient; the
student's attention does. The official code widens each object by a row and a column, so that one inside a cell would
fill 2 x 2: `object_cells="official"`; the paper has the touched cells. (Early versions of that code also swap
the axes of the masks.) It scales boxes by the image's size without padding; here the level's stride does.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from rdrkd.boxes import Regions
from rdrkd.losses.attention import channel_attention, spatial_attention
from rdrkd.losses.context import Context, Output, level_name
from rdrkd.spec.losses import Fgd


def object_masks(regions: Regions, object_cells: Literal["touched", "official"] = "touched") -> tuple[Tensor, Tensor]:
    """M_fg and M_bg, (B, H, W) each, fp64, for the objects' cells; an image without background has none."""
    sizes = regions.sizes
    if object_cells == "official":
        _, height, width = regions.shape
        ranges = regions.ranges + regions.ranges.new_tensor([0, 0, 1, 1])
        sizes = Regions(regions.image, ranges, regions.shape).sizes  # before the clip
        limits = ranges.new_tensor([width, height, width, height])
        regions = Regions(regions.image, torch.minimum(ranges, limits), regions.shape)
    foreground = regions.paint(1 / sizes.double(), "max")
    outside = (foreground == 0).double()
    return foreground, outside / outside.sum((1, 2), keepdim=True).clamp(min=1)


def focal_loss(teacher: Tensor, student: Tensor, mask: Tensor, temperature: float = 0.5) -> Tensor:
    """L_fg or L_bg of one level for maps (B, C, H, W) and the mask (B, H, W): scalar, a sum, the mean over images."""
    teacher = teacher.detach()
    attention = spatial_attention(teacher, temperature) * channel_attention(teacher, temperature)
    return (attention * mask.unsqueeze(1) * (teacher - student).square()).sum((1, 2, 3)).mean()


def attention_loss(teacher: Tensor, student: Tensor, temperature: float = 0.5) -> Tensor:
    """L_att of one level for maps (B, C, H, W): scalar, sums over cells and over channels, the mean over images."""
    pairs = (
        (attention(teacher.detach(), temperature), attention(student, temperature))
        for attention in (spatial_attention, channel_attention)
    )
    return torch.stack([(t - s).abs().sum((1, 2, 3)).mean() for t, s in pairs]).sum()


def relation_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """L_rel of one level for R_t(F^t) and R_s(F^s) (B, C, H, W): scalar, a sum, the mean over images.

    Neither is detached, for R_t is trained; the maps under it are.
    """
    return (teacher - student).square().sum((1, 2, 3)).mean()


class GlobalContext(nn.Module):
    """R: adds to every cell what a learned weighting of all cells of its image says; at first nothing (GCNet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.key = nn.Conv2d(channels, 1, 1)
        last = nn.Conv2d(half, channels, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, half, 1), nn.LayerNorm([half, 1, 1]), nn.ReLU(inplace=True), last
        )
        nn.init.kaiming_normal_(self.key.weight, mode="fan_in", nonlinearity="relu")
        for zero in (self.key.bias, last.weight, last.bias):
            assert zero is not None
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """R (B, C, H, W) of a map (B, C, H, W)."""
        cells = self.key(x).flatten(2).softmax(2)  # (B, 1, H W)
        pooled = (x.flatten(2) * cells).sum(2)[:, :, None, None]
        changed: Tensor = x + self.transform(pooled)
        return changed


class FgdTerm(nn.Module):
    """The term: two context blocks per level; they train with the student and are never exported."""

    def __init__(self, term: Fgd, teacher_channels: dict[int, int]) -> None:
        super().__init__()
        self.term = term
        widths = {level_name(stride): teacher_channels[stride] for stride in term.levels}
        self.teacher = nn.ModuleDict({name: GlobalContext(width) for name, width in widths.items()})
        self.student = nn.ModuleDict({name: GlobalContext(width) for name, width in widths.items()})

    def forward(self, context: Context) -> Output:
        """Each kind of loss by its weight, summed over the levels."""
        objects = context.located()
        parts: dict[str, list[Tensor]] = {}
        for stride in self.term.levels:
            teacher, student = context.maps(stride)
            batch, _, height, width = teacher.shape
            masks = object_masks(objects.on(stride, (batch, height, width)), self.term.object_cells)
            for part, value in self._level(level_name(stride), teacher, student, *masks).items():
                parts.setdefault(part, []).append(value)
        return Output.of({part: torch.stack(values).sum() for part, values in parts.items()})

    def _level(
        self, name: str, teacher: Tensor, student: Tensor, foreground: Tensor, background: Tensor
    ) -> dict[str, Tensor]:
        term, temperature = self.term, self.term.temperature
        foreground, background = foreground.to(teacher.dtype), background.to(teacher.dtype)
        contexts = self.teacher[name](teacher), self.student[name](student)
        return {
            "foreground": term.foreground_weight * focal_loss(teacher, student, foreground, temperature),
            "background": term.background_weight * focal_loss(teacher, student, background, temperature),
            "attention": term.attention_weight * attention_loss(teacher, student, temperature),
            "relation": term.relation_weight * relation_loss(*contexts),
        }
