"""Adaptive masked distillation (AMD; "AWD" in RDR-KD's Table I): rebuild the cells that the teacher attends to.

Source: Yang et al., 2023, arXiv 2301.13538. RECONSTRUCTED FROM ITS ABSTRACT, which names attention in place of MGD's
random mask and a simple module that lets the channels adapt; no code of it was found. The attention is FGD's,
the generation block and the weight MGD's, the module a squeeze and excitation. Per level and image:

    F^t     teacher map                                            teacher    (B, C, H, W)
    F^s     aligned student map                                    student    (B, C, H, W)
    A^s     the teacher's attention over the cells, mean 1         attention  (B, 1, H, W)
    M       0 = hidden where A^s > tau_s, else 1                   mask       (B, 1, H, W)
    G       generation block, conv3x3-ReLU-conv3x3                 AmdLevel.generator
    w       sigmoid(FC2(ReLU(FC1(mean_hw F^t))))                   AmdLevel.channels  (B, C, 1, 1)

    L = sum_{c,h,w} (F^t - w G(F^s M))^2                           rebuilt    (B, C, H, W)

The sum over channels and cells is averaged over images. The mask carries no gradient.
"""

from typing import cast

from torch import Tensor, nn

from rdrkd.losses.attention import spatial_attention
from rdrkd.losses.context import Context, Output, level_name
from rdrkd.losses.generation_block import generation_block, generative_loss, rebuild
from rdrkd.spec.losses import Amd


def attention_mask(teacher: Tensor, tau_s: float = 1.0, temperature: float = 0.5) -> Tensor:
    """M (B, 1, H, W) in {0, 1} of a teacher map (B, C, H, W)."""
    return (spatial_attention(teacher.detach(), temperature) <= tau_s).to(teacher.dtype)


class ChannelWeights(nn.Module):
    """A weight in 0..1 for each channel, read from a map's means over its cells (squeeze and excitation)."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        inner = max(1, channels // squeeze)
        self.layers = nn.Sequential(
            nn.Linear(channels, inner), nn.ReLU(inplace=True), nn.Linear(inner, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return w (B, C, 1, 1) of a map (B, C, H, W)."""
        return cast(Tensor, self.layers(x.mean((2, 3))))[:, :, None, None]


class AmdLevel(nn.Module):
    """The trainable modules of one level; they train with the student and are never exported."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.generator = generation_block(channels)
        self.channels = ChannelWeights(channels, squeeze)


class AmdTerm(nn.Module):
    """The term: a generation block and channel weights per level."""

    def __init__(self, term: Amd, teacher_channels: dict[int, int]) -> None:
        super().__init__()
        self.term = term
        self.levels = nn.ModuleDict(
            {level_name(stride): AmdLevel(teacher_channels[stride], term.squeeze) for stride in term.levels}
        )

    def forward(self, context: Context) -> Output:
        """Sum of the levels' losses; shares: hidden cells per level."""
        levels: dict[str, Tensor] = {}
        shares: dict[str, Tensor] = {}
        for stride in self.term.levels:
            name = level_name(stride)
            level = cast(AmdLevel, self.levels[name])
            teacher, student = context.maps(stride)
            mask = attention_mask(teacher, self.term.tau_s, self.term.temperature)
            with context.autocast():
                generated = rebuild(level.generator, student, mask, context.unaligned.get(stride))
            rebuilt = level.channels(teacher) * generated.to(teacher.dtype)
            levels[name] = generative_loss(teacher, rebuilt)
            shares[f"{name}/hidden_cells"] = 1 - mask.mean()
        return Output.of(levels, shares)
