"""What a study's method may change of the study, and the controls that every comparison should have beside `none`."""

from collections.abc import Iterator
from copy import copy
from typing import Annotated, Any, Optional

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from rdrkd.spec.references import ARCHITECTURES, Architecture, ModelRef
from rdrkd.spec.training import TrainSettings

CONTROLS = "controls"  # the name that stands for all of them
_LARGER = 1.2  # times the side: about the price of a P2 head (YOLOv8n: 1.4 times the operations)
_STEP = 32  # px, of an input's side


class _Partial(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _optional(field: FieldInfo) -> tuple[Any, FieldInfo]:
    without = copy(field)
    without.default, without.metadata = None, []
    kind: Any = field.annotation
    for constraint in field.metadata:  # of the value, not of the None beside it
        kind = Annotated[kind, constraint]
    return Optional[kind], without  # noqa: UP045 - of a type that is computed


# `TrainSettings` without defaults and without the seed: None is what the study says.
_FIELDS: Any = {name: _optional(field) for name, field in TrainSettings.model_fields.items() if name != "seed"}
TrainChanges = create_model(
    "TrainChanges",
    __base__=_Partial,
    __doc__="Training settings that a method has of its own, instead of the study's.",
    **_FIELDS,
)


def controls(lead: str, student: ModelRef, train: TrainSettings) -> Iterator[dict[str, Any]]:
    """Yield the honest controls of a method as methods of the student alone.

    Args:
        lead: the method that is to be controlled.
        student: the study's.
        train: the study's settings.
    """
    alone: dict[str, Any] = {"distillation": {"preset": "none"}}
    yield {"name": "none@time", **alone, "as_long_as": lead}
    for name, factor in (("none@lr-half", 0.5), ("none@lr-double", 2.0)):
        yield {"name": name, **alone, "train": {"lr0": min(1.0, train.lr0 * factor)}}
    if isinstance(student, Architecture) and (with_p2 := f"{student.architecture}-p2") in ARCHITECTURES:
        yield {"name": "none@p2", **alone, "student": {"architecture": with_p2}}
    larger = max(train.imgsz + _STEP, round(train.imgsz * _LARGER / _STEP) * _STEP)
    if larger <= 4096:
        yield {"name": "none@imgsz", **alone, "train": {"imgsz": larger}}
