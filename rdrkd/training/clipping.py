"""Gradient clipping of a pair: the student as if it were trained alone, the projector by itself.

Ultralytics clips the gradients of the whole model at one norm. The adapters and procreate modules of a pair have far
larger gradients than the student, so one norm for both scales the student's step down to a fraction of what the same
student takes alone, and a comparison with the student alone measures that as well.
"""

from torch import nn

from rdrkd.distillation.distiller import Distiller
from rdrkd.ultralytics_adapter import unwrap_model

MAX_NORM = 10.0  # Ultralytics'


def clip(model: nn.Module) -> None:
    """Clip the gradients of student and projector, each at `MAX_NORM`; a model that is no pair is one part."""
    model = unwrap_model(model)
    for part in (model.student_model, model.projector) if isinstance(model, Distiller) else (model,):
        parameters = list(part.parameters())
        if parameters:  # terms without adapters have an empty projector
            nn.utils.clip_grad_norm_(parameters, max_norm=MAX_NORM)
