"""The paper's tables as studies of any dataset: the same methods, a teacher trained first, paired seeds."""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rdrkd.data.download import NAMED, fetch_visdrone
from rdrkd.errors import FolderError, Problem, SpecError
from rdrkd.figures import counted
from rdrkd.files import claim, write_atomically
from rdrkd.spec import ARCHITECTURES
from rdrkd.spec.controls import CONTROLS
from rdrkd.spec.problems import problems_of
from rdrkd.spec.study import Study
from rdrkd.spec.unusable import unusable

_OPTIONS = {
    "/dataset": "dataset", "/teacher/model": "--teacher", "/student": "--student",
    "/teacher/model/path": "--teacher", "/student/path": "--student", "/seeds": "--seeds",
    "/train/epochs": "--epochs", "/train/imgsz": "--imgsz", "/train/batch": "--batch",
}  # fmt: skip


def write_table_study(
    group: str, dataset: str, out: Path, teacher: str, student: str, seeds: int, train: dict[str, Any]
) -> Path:
    """Write the spec of a table's study into its folder, where it can be edited, and return its path.

    Args:
        group: `table1` or `table2`.
        dataset: path of a dataset, or a name in `NAMED` to download into `out`.
        out: folder of the study.
        teacher: architecture to train, or path of trained weights.
        student: architecture, or path of start weights.
        seeds: number of seeds: 0, 1, ...
        train: settings of teacher and students.

    Raises:
        SpecError: a value is invalid.
        FolderError: the folder holds another study.
        DatasetError: the dataset cannot be downloaded.
    """
    place = dataset
    if dataset in NAMED and not Path(dataset).exists():
        claim(out, "study folder")
        place = str(fetch_visdrone(out / "datasets"))
    content: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9+._-]", "-", f"{group}-{Path(dataset).stem}")[:64],
        "dataset": str(Path(place).resolve()),
        "teacher": {"model": _model(teacher), **({"train": train} if teacher in ARCHITECTURES else {})},
        "student": _model(student),
        "methods": [group, CONTROLS],
        "decide": {"metric": "AP", "least": 0.3, "interval": "above 0"},
        "seeds": list(range(seeds)),
        "train": train,
    }
    problems = list(unusable(content, "studies submit"))
    try:
        Study.model_validate(content)
    except ValidationError as error:
        problems = [*problems_of(error, content), *problems]
    # The teacher's settings are the students', so their problems are the same.
    refused = [Problem(_OPTIONS.get(one.where, one.where), one.detail) for one in problems if not _is_teachers(one)]
    if refused:
        raise SpecError(f"refused because of {counted(len(refused), 'option')} of the study", refused)
    claim(out, "study folder")
    file, text = out / "study.yaml", yaml.safe_dump(content, sort_keys=False)
    if file.is_file() and file.read_text() != text:
        raise FolderError(f"expected a new folder or these very options, got another study: `rdrkd study run {file}`")
    write_atomically(file, text.encode())
    return file


def _is_teachers(problem: Problem) -> bool:
    return problem.where.startswith("/teacher/train/")


def _model(name: str) -> dict[str, str]:
    return {"architecture": name} if name in ARCHITECTURES else {"path": str(Path(name).resolve())}
