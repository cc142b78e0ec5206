"""Gradient clipping of a pair: separate norms for the student, as if trained alone, and the projector.

Ultralytics clips the gradients of the whole model at one norm. The adapters and procreate modules of a pair have far
larger gradients than the student, so a common norm would scale the student's steps down to a fraction of those it
takes alone, which would distort a comparison with the student alone.
"""

from torch import nn

from rdrkd.distillation.distiller import Distiller
from rdrkd.ultralytics_adapter import unwrap_model

MAX_NORM = 10.0  # Ultralytics'


def clip(model: nn.Module) -> None:
    """Clip the gradients of student and projector separately at `MAX_NORM`; a model without a projector as a whole."""
    model = unwrap_model(model)
    for part in (model.student_model, model.projector) if isinstance(model, Distiller) else (model,):
        parameters = list(part.parameters())
        if parameters:  # terms without adapters have an empty projector
            nn.utils.clip_grad_norm_(parameters, max_norm=MAX_NORM)
