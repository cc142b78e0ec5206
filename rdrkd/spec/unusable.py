"""Find what a spec names that a run on this machine cannot use: missing files, and ids of a service."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rdrkd.errors import Problem
from rdrkd.spec.references import ARCHITECTURES
from rdrkd.suggestion import file_suggestion, suggestion

_WITH_MODELS = ("teacher", "student", "model", "methods")  # fields of a spec; `labels` may hold anything
_ELSEWHERE = "the id of a {} of a service: `rdrkd {}` runs the spec there"


def unusable(spec: Any, submit: str, given: Collection[str] = ()) -> Iterator[Problem]:
    """Yield a problem for each input that this machine cannot use, even if other fields of the spec are invalid.

    Args:
        spec: the content of the file of a job's or study's spec, with paths relative to the current folder.
        submit: the command that runs such a spec on a service.
        given: fields of which the command line names the file.
    """
    if not isinstance(spec, dict):
        return
    for field in _WITH_MODELS:
        if field not in given:
            yield from _unusable(spec.get(field), f"/{field}", submit)
    dataset = spec.get("dataset")
    if isinstance(dataset, str) and "dataset" not in given and not Path(dataset).exists():
        is_id = Path(dataset).name.startswith("ds_")
        came = _ELSEWHERE.format("dataset", submit) if is_id else f"nothing at {dataset}{file_suggestion(dataset)}"
        yield Problem("/dataset", f"expected a dataset, got {came}")


def _unusable(value: Any, where: str, submit: str) -> Iterator[Problem]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unusable(item, f"{where}/{number}", submit)
    if not isinstance(value, dict):
        return
    match value:
        case {"path": str(path), **rest} if not rest:
            if not Path(path).is_file():
                came = "the folder" if Path(path).is_dir() else "nothing at"
                meant = file_suggestion(path) or suggestion(Path(path).name, ARCHITECTURES)
                yield Problem(f"{where}/path", f"expected a weights file, got {came} {path}{meant}")
        case {"model": str()} | {"job": str()} if len(value) == 1:
            (what,) = value
            expected = "expected {path: ...} or {architecture: ...} on this machine"
            yield Problem(where, f"{expected}, got {_ELSEWHERE.format(what, submit)}")
        case _:
            for field, item in value.items():
                yield from _unusable(item, f"{where}/{field}", submit)
