"""A Detect head split between a convolution and its activation, so that CrossKD can join halves of two heads.

A branch (the dense one, `one2many`; of an end-to-end head `one2one`, too) has two stacks of layers per level, one for
`boxes` and one for class `scores`: block, block, 1x1 convolution. A block is a convolution with batch normalisation
and activation; in the class stacks of YOLO11 and YOLO26 it is two of them, depthwise and pointwise. The cut after
block `split` (1 or 2) is just before that block's last activation.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rdrkd.ultralytics_adapter import Detect

Stacks = dict[str, Sequence[nn.Sequential]]  # `boxes`, `scores` -> the stack of each level
Hidden = dict[str, list[Tensor]]  # `boxes`, `scores` -> (B, C, H, W) at the cut, of each level


def stacks(head: Detect) -> dict[str, Stacks]:
    """Return the stacks of each branch that a head has."""
    found: dict[str, Stacks] = {"one2many": {"boxes": head.cv2, "scores": head.cv3}}
    if getattr(head, "one2one_cv2", None) is not None:
        found["one2one"] = {"boxes": head.one2one_cv2, "scores": head.one2one_cv3}
    return found


def widths(head: Detect, split: int) -> dict[str, dict[str, list[int]]]:
    """Channels at the cut, by branch, `boxes` or `scores`, and level."""
    return {
        branch: {kind: [_last(stack[split - 1]).conv.out_channels for stack in levels] for kind, levels in of.items()}
        for branch, of in stacks(head).items()
    }


def predict(head: Detect, maps: Sequence[Tensor], split: int) -> dict[str, Any]:
    """Run a head on its input maps; return its raw predictions, never decoded, with the maps at the cut as `hidden`."""
    found: dict[str, Any] = {}
    for branch, of in stacks(head).items():
        # As in the head's own pass: the one-to-one branch does not train the network before it.
        inputs = [x.detach() for x in maps] if branch == "one2one" and head.training else list(maps)
        hidden = {
            kind: [_before(stack, split, x) for stack, x in zip(levels, inputs, strict=True)]
            for kind, levels in of.items()
        }
        found[branch] = {**finish(head, branch, hidden, split), "feats": inputs, "hidden": hidden}
    return found if len(found) > 1 else dict(found["one2many"])


def undecoded(head: Detect, maps: Sequence[Tensor]) -> dict[str, Any]:
    """Run a head on its input maps; return its raw predictions, as the head itself does in training."""
    found = {"one2many": head.forward_head(list(maps), **head.one2many)}
    if getattr(head, "one2one_cv2", None) is not None:
        inputs = [x.detach() for x in maps] if head.training else list(maps)
        found["one2one"] = head.forward_head(inputs, **head.one2one)
    return found if len(found) > 1 else dict(found["one2many"])


def finish(head: Detect, branch: str, hidden: Hidden, split: int) -> dict[str, Tensor]:
    """Run the layers after the cut; return `boxes` (B, 4R, A) and `scores` (B, nc, A) of a branch."""
    return {
        kind: _joined([_after(stack, split, x) for stack, x in zip(levels, hidden[kind], strict=True)])
        for kind, levels in stacks(head)[branch].items()
    }


def _before(stack: nn.Sequential, split: int, x: Tensor) -> Tensor:
    blocks = list(stack)[:split]
    for block in blocks[:-1]:
        x = block(x)
    block = blocks[-1]
    if isinstance(block, nn.Sequential):
        for part in list(block)[:-1]:
            x = part(x)
    last = _last(block)
    x = last.conv(x)
    normalised: Tensor = last.bn(x) if hasattr(last, "bn") else x  # a fused block has none
    return normalised


def _after(stack: nn.Sequential, split: int, x: Tensor) -> Tensor:
    x = _last(stack[split - 1]).act(x)
    for block in list(stack)[split:]:
        x = block(x)
    return x


def _last(block: nn.Module) -> Any:
    """Return the `Conv` (convolution, normalisation, activation) that ends a block."""
    return block[-1] if isinstance(block, nn.Sequential) else block


def _joined(levels: list[Tensor]) -> Tensor:
    """Concatenate the cells of all levels, (B, C, A)."""
    return torch.cat([x.flatten(2) for x in levels], dim=2)
