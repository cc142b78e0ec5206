"""The losses, one file each: pure functions on plain tensors, and the term that applies them to a batch.

Every term comes back unweighted, as a mean over images, so that `sum of weight x value`, times B, stands beside the
task loss (Eq. 11, `rdrkd.distillation.distiller`).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from rdrkd.errors import PairError
from rdrkd.losses.amd import AmdTerm
from rdrkd.losses.bckd import bckd_term
from rdrkd.losses.context import Branch, Context, Cross, Head, Hidden, Output, Unaligned, level_name
from rdrkd.losses.crosskd import crosskd_term
from rdrkd.losses.cwd import cwd_term
from rdrkd.losses.decoupled import decoupled_term
from rdrkd.losses.dkd import dkd_term
from rdrkd.losses.fgd import FgdTerm
from rdrkd.losses.ld import ld_term
from rdrkd.losses.mgd import MgdTerm
from rdrkd.losses.nkd import nkd_term
from rdrkd.losses.pkd import pkd_term
from rdrkd.losses.regenerated import RegeneratedTerm
from rdrkd.losses.responsive import responsive_term
from rdrkd.losses.ultralytics import ultralytics_term
from rdrkd.losses.wsld import wsld_term
from rdrkd.spec import (
    Amd,
    Bckd,
    Crosskd,
    Cwd,
    Decoupled,
    Dkd,
    Fgd,
    Ld,
    Mgd,
    Nkd,
    Pkd,
    Regenerated,
    Responsive,
    Term,
    Ultralytics,
    Wsld,
)

__all__ = ["Branch", "Context", "Cross", "Head", "Hidden", "LossTerm", "Output", "Unaligned", "build", "level_name"]


_FUNCTIONS: dict[type[Any], Callable[[Any, Context], Output]] = {
    Decoupled: decoupled_term,
    Responsive: responsive_term,
    Bckd: bckd_term,
    Crosskd: crosskd_term,
    Ultralytics: ultralytics_term,
    Ld: ld_term,
    Dkd: dkd_term,
    Cwd: cwd_term,
    Pkd: pkd_term,
    Wsld: wsld_term,
    Nkd: nkd_term,
}
_MODULES: dict[type[Any], Callable[[Any, dict[int, int]], nn.Module]] = {
    Regenerated: RegeneratedTerm,
    Mgd: MgdTerm,
    Fgd: FgdTerm,
    Amd: AmdTerm,
}


class LossTerm(nn.Module):
    """One term of a job's loss, with its trainable modules (procreate modules), if any.

    Attributes:
        term: its settings.
    """

    def __init__(self, term: Term, teacher_channels: dict[int, int]) -> None:
        super().__init__()
        self.term = term
        make = _MODULES.get(type(term))
        self.module = make(term, teacher_channels) if make else None

    def forward(self, context: Context) -> Output:
        """Compute the term in fp32, outside autocast, with the teacher detached.

        Raises:
            PairError: the maps or heads of teacher and student differ in shape.
        """
        with torch.autocast(context.boxes.device.type, enabled=False):
            context = context.at_boundary()
            if self.module is not None:
                output: Output = self.module(context)
                return output
            return _FUNCTIONS[type(self.term)](self.term, context)


def build(term: Term, teacher_channels: dict[int, int]) -> LossTerm:
    """Build one term.

    Args:
        term: its settings.
        teacher_channels: stride -> width C_t of the teacher's map.

    Raises:
        PairError: the term compares a level that the teacher does not have.
    """
    missing = [stride for stride in getattr(term, "levels", ()) if stride not in teacher_channels]
    if missing:
        raise PairError(
            f"{term.name}: expected levels among the strides {sorted(teacher_channels)}, got also {sorted(missing)}"
        )
    return LossTerm(term, teacher_channels)
