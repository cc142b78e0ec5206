"""A method's changes to its study, and the controls that every comparison should have in addition to `none`."""

from collections.abc import Iterator
from copy import copy
from typing import Annotated, Any, Optional

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from rdrkd.spec.references import ARCHITECTURES, Architecture, ModelRef
from rdrkd.spec.training import TrainSettings

CONTROLS = "controls"  # the group name of all controls
_LARGER = 1.2  # factor on the side: costs about as much as a P2 head (YOLOv8n: 1.4 times the operations)
_STEP = 32  # px, of an input's side


class _Partial(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _optional(field: FieldInfo) -> tuple[Any, FieldInfo]:
    without = copy(field)
    without.default, without.metadata = None, []
    kind: Any = field.annotation
    for constraint in field.metadata:  # constrain the value, not the alternative None
        kind = Annotated[kind, constraint]
    return Optional[kind], without  # noqa: UP045 - the type is computed


# `TrainSettings` without defaults and without the seed; None: use the study's value.
_FIELDS: Any = {name: _optional(field) for name, field in TrainSettings.model_fields.items() if name != "seed"}
TrainChanges = create_model(
    "TrainChanges",
    __base__=_Partial,
    __doc__="Training settings of a method that replace the study's.",
    **_FIELDS,
)


def controls(lead: str, student: ModelRef, train: TrainSettings) -> Iterator[dict[str, Any]]:
    """Yield the controls for a method, each of which trains the student alone.

    Args:
        lead: the method to control for.
        student: the study's student.
        train: the study's training settings.
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
