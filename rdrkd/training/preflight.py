"""Check that a plan can be trained, as far as possible without its dataset, before anything costly runs."""

from collections.abc import Sequence

import torch

from rdrkd.distillation.distiller import Distiller
from rdrkd.errors import Problem, SpecError
from rdrkd.models import build
from rdrkd.models.pairs import check_pair
from rdrkd.process.devices import CPU
from rdrkd.spec.references import layers_of
from rdrkd.training.plan import Plan
from rdrkd.training.precision import dtype_of
from rdrkd.ultralytics_adapter import check_compiler


def check_plan(plan: Plan, devices: Sequence[str]) -> None:
    """Refuse what the trainer would refuse later; `rdrkd.models.pairs` checks the classes.

    Args:
        plan: the plan to train.
        devices: as returned by `devices_of`.

    Raises:
        SpecError: all layers of the student are frozen.
        MachineError: the device does not support the requested precision, or the machine cannot compile.
        PairError: teacher and student do not fit each other or a term, regardless of classes.
    """
    if devices[0] == CPU or devices[0].isdecimal():  # Ultralytics checks other devices
        device = torch.device(CPU if devices[0] == CPU else f"cuda:{devices[0]}")
        dtype_of(plan.settings.amp, device)
        if plan.settings.compile:
            check_compiler(device)
    start = plan.student
    layers = layers_of(start) if isinstance(start, str) else len(start.model.model)
    if (frozen := plan.settings.freezes_all(layers)) is not None:
        raise SpecError(f"train.freeze: {frozen}", [Problem("/train/freeze", frozen)])
    if plan.teacher is None:
        return
    with torch.random.fork_rng(devices=[]):
        # The teacher's classes must be the dataset's, so they also determine the student's head.
        student = build(start if isinstance(start, str) else start.model.yaml, plan.teacher.names)
        check_pair(plan.teacher, student, plan.recipe.terms, plan.settings.imgsz)
        Distiller(plan.teacher.model, student, plan.recipe)  # checks the levels and their channels
