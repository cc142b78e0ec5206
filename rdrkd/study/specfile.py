"""Read a study spec from a file; its paths are relative to the file and must exist."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rdrkd.spec.files import parse_file, refusal
from rdrkd.spec.problems import problems_of
from rdrkd.spec.study import Study
from rdrkd.spec.unusable import unusable


def read_study(file: Path) -> Study:
    """Read and check a study spec.

    Raises:
        SpecError: it cannot be read, has invalid fields, or names files that do not exist here (one problem each).
    """
    data = parse_file(file, "a study spec")
    here = _with_paths(data, file.resolve().parent)
    missing = list(unusable(here, "studies submit"))
    try:
        study = Study.model_validate(here)
    except ValidationError as error:
        raise refusal(file, "study", [*problems_of(error, data), *missing]) from None
    if missing:
        raise refusal(file, "study", missing)
    return study


def _with_paths(data: Any, folder: Path) -> Any:
    """Make the paths absolute: the members run in other folders."""
    if not isinstance(data, dict):
        return data
    resolved = dict(data)
    if isinstance(data.get("dataset"), str):
        resolved["dataset"] = str(folder / data["dataset"])
    if isinstance(data.get("student"), dict):
        resolved["student"] = _with_path(data["student"], folder)
    teacher = data.get("teacher")
    if isinstance(teacher, dict):
        resolved["teacher"] = _with_path(teacher, folder)  # the short form
        if isinstance(teacher.get("model"), dict):
            resolved["teacher"] = {**teacher, "model": _with_path(teacher["model"], folder)}
    return resolved


def _with_path(model: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**model, "path": str(folder / model["path"])} if isinstance(model.get("path"), str) else model
