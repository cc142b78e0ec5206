"""CrossKD's connection of the heads: maps inside the student's head pass, mapped, through the rest of the teacher's.

Both heads run in two halves (`rdrkd.models.head_split`). Mappers are adapters like any other: they live under
`projector`, train with the student, and exist only if the maps of the two heads differ in width.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rdrkd.distillation.heads import common, head_of
from rdrkd.losses import Cross, Head, Hidden
from rdrkd.models.head_split import finish, widths
from rdrkd.spec import Crosskd, Recipe
from rdrkd.ultralytics_adapter import DetectionModel, branches

Maps = Mapping[str, list[Tensor]]  # `boxes`, `scores` -> (B, C, H, W) of each level of a head


def crossing_of(recipe: Recipe) -> Crosskd | None:
    """Return the term that passes the student's maps to the teacher's head, if there is one."""
    return next((term for term in recipe.terms if isinstance(term, Crosskd)), None)


def mappers(term: Crosskd, teacher: DetectionModel, student: DetectionModel) -> dict[str, nn.Module]:
    """Build the layers that map the student's maps to the teacher's width, by key; no bias: alignment removes it."""
    of_teacher, of_student = (widths(model.model[-1], term.split) for model in (teacher, student))
    return {
        _key(branch, kind, stride): nn.Conv2d(channels, target, kernel_size=1, bias=not term.align_scale)
        for branch in common(of_teacher, of_student)
        for kind, levels in of_teacher[branch].items()
        for stride, channels, target in zip(_strides(teacher), of_student[branch][kind], levels, strict=True)
        if channels != target
    }


def crosses(
    term: Crosskd, model: DetectionModel, teacher: Any, student: Any, adapters: nn.ModuleDict
) -> dict[str, Cross]:
    """Return the inputs of the cross-head predictions for each branch that both heads have.

    Args:
        term: the term that uses them.
        model: the teacher.
        teacher: its output, from a head run in halves.
        student: the student's output, likewise.
        adapters: modules by key, including the mappers.
    """
    of_teacher, of_student = branches(teacher), branches(student)
    found: dict[str, Cross] = {}
    for name in common(of_teacher, of_student):
        mapped = _mapped(name, of_student[name]["hidden"], _strides(model), adapters)
        found[name] = Cross(
            teacher=_by_stride(of_teacher[name]["hidden"], _strides(model)),
            student=_by_stride(mapped, _strides(model)),
            rest=partial(_rest, model, name, term.split, of_teacher[name]["feats"]),
        )
    return found


def _mapped(branch: str, maps: Maps, strides: list[int], adapters: nn.ModuleDict) -> Maps:
    def through(key: str, x: Tensor) -> Tensor:
        mapped: Tensor = adapters[key](x) if key in adapters else x
        return mapped

    return {
        kind: [through(_key(branch, kind, stride), x) for stride, x in zip(strides, levels, strict=True)]
        for kind, levels in maps.items()
    }


def _by_stride(maps: Maps, strides: list[int]) -> Hidden:
    return Hidden(**{kind: dict(zip(strides, levels, strict=True)) for kind, levels in maps.items()})


def _rest(model: DetectionModel, branch: str, split: int, feats: list[Tensor], hidden: Hidden) -> Head:
    """Run the rest of a head's branch on maps inside it; return its predictions. Only its layers use autocast."""
    maps = {"boxes": list(hidden.boxes.values()), "scores": list(hidden.scores.values())}
    prediction = finish(model.model[-1], branch, maps, split)
    with torch.autocast(feats[0].device.type, enabled=False):
        return head_of({**prediction, "feats": feats}, model)


def _key(branch: str, kind: str, stride: int) -> str:
    return f"crosskd-{branch}-{kind}-{stride}"


def _strides(model: DetectionModel) -> list[int]:
    return [int(stride) for stride in model.stride]
