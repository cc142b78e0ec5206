"""Masked generative distillation (MGD): rebuild the teacher's map from a student map with cells hidden at random.

Source: Yang et al., ECCV 2022, arXiv 2205.01529. Per level and image:

    F^t     teacher map                                     teacher   (B, C, H, W)
    F^s     aligned student map                             student   (B, C, H, W)
    lambda  probability that a cell is hidden               mask_ratio
    M       mask, 0 = hidden; the same for all channels     mask      (B, 1, H, W)
    G       generation block, conv3x3-ReLU-conv3x3          MgdTerm.generators

    L = sum_{c,h,w} (F^t - G(F^s M))^2                      rebuilt   (B, C, H, W)

The sum over channels and cells is averaged over images: the published weight of 2e-5 belongs to it, and would be inert
with a mean. The official code has an adapter only where the widths differ; here there always is one. Masks come from
torch's generator, which a training seeds at every epoch.
"""

from typing import cast

import torch
from torch import Tensor, nn

from rdrkd.losses.context import Context, Output, level_name
from rdrkd.losses.generation_block import generation_block, generative_loss, rebuild
from rdrkd.spec.losses import Mgd


def random_mask(student: Tensor, mask_ratio: float) -> Tensor:
    """M (B, 1, H, W) in {0, 1} for a map (B, C, H, W), each cell 0 with the probability `mask_ratio`."""
    batch, _, height, width = student.shape
    return (torch.rand(batch, 1, height, width, device=student.device) >= mask_ratio).to(student.dtype)


class MgdTerm(nn.Module):
    """The term: one generation block per level; they train with the student and are never exported."""

    def __init__(self, term: Mgd, teacher_channels: dict[int, int]) -> None:
        super().__init__()
        self.term = term
        self.generators = nn.ModuleDict(
            {level_name(stride): generation_block(teacher_channels[stride]) for stride in term.levels}
        )

    def forward(self, context: Context) -> Output:
        """Sum of the levels' losses."""
        levels: dict[str, Tensor] = {}
        for stride in self.term.levels:
            name = level_name(stride)
            teacher, student = context.maps(stride)
            mask = random_mask(student, self.term.mask_ratio)
            generator = cast(nn.Sequential, self.generators[name])
            with context.autocast():
                rebuilt = rebuild(generator, student, mask, context.unaligned.get(stride))
            levels[name] = generative_loss(teacher, rebuilt.to(teacher.dtype))
        return Output.of(levels)
