"""Read a study spec from a file; paths in it are relative to the file."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rdrkd.errors import SpecError
from rdrkd.spec.files import parse_file
from rdrkd.spec.problems import problems_of
from rdrkd.spec.study import Study


def read_study(file: Path) -> Study:
    """Read and check a study spec.

    Raises:
        SpecError: it cannot be read, or has fields that are refused (one problem each).
    """
    data = parse_file(file)
    try:
        study = Study.model_validate(_with_paths(data, file.resolve().parent))
    except ValidationError as error:
        problems = problems_of(error, data)
        raise SpecError(f"{file}: {len(problems)} fields of the study are refused", problems) from None
    return study


def _with_paths(data: Any, folder: Path) -> Any:
    """Make the paths absolute: the members run elsewhere."""
    if not isinstance(data, dict):
        return data
    resolved = dict(data)
    if isinstance(data.get("dataset"), str):
        resolved["dataset"] = str(folder / data["dataset"])
    if isinstance(data.get("student"), dict):
        resolved["student"] = _with_path(data["student"], folder)
    teacher = data.get("teacher")
    if isinstance(teacher, dict) and isinstance(teacher.get("model"), dict):
        resolved["teacher"] = {**teacher, "model": _with_path(teacher["model"], folder)}
    return resolved


def _with_path(model: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**model, "path": str(folder / model["path"])} if isinstance(model.get("path"), str) else model
