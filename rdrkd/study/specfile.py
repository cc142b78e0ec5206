"""Read a study spec from a file; its paths are relative to the file and must exist."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rdrkd.errors import Problem, SpecError
from rdrkd.figures import counted
from rdrkd.spec import ARCHITECTURES, Architecture, LocalModel, ModelRef, Pretrained
from rdrkd.spec.files import parse_file
from rdrkd.spec.problems import problems_of
from rdrkd.spec.study import Study
from rdrkd.suggestion import file_suggestion, suggestion


def read_study(file: Path) -> Study:
    """Read and check a study spec.

    Raises:
        SpecError: it cannot be read, has invalid fields, or names files that do not exist here (one problem each).
    """
    data = parse_file(file, "a study spec")
    try:
        study = Study.model_validate(_with_paths(data, file.resolve().parent))
    except ValidationError as error:
        problems = problems_of(error, data)
    else:
        problems = list(missing(study))
    if problems:
        raise SpecError(f"{file}: refused because of {counted(len(problems), 'field')} of the study", problems)
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


def missing(study: Study) -> Iterator[Problem]:
    """Yield a problem for each input that this machine cannot use."""
    if not Path(study.dataset).exists():
        yield Problem("/dataset", f"expected a dataset, got nothing at {study.dataset}{file_suggestion(study.dataset)}")
    yield from _unusable(study.student, "/student")
    yield from _unusable(study.teacher.model, "/teacher/model")


def _unusable(model: ModelRef, where: str) -> Iterator[Problem]:
    if isinstance(model, LocalModel):
        if not Path(model.path).is_file():
            meant = file_suggestion(model.path) or suggestion(Path(model.path).name, ARCHITECTURES)
            yield Problem(where, f"expected a weights file, got nothing at {model.path}{meant}")
    elif not isinstance(model, Architecture | Pretrained):
        yield Problem(where, "expected {architecture} or {path} on the command line, got an id of the service")
