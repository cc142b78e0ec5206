"""Read a job spec from a JSON or YAML file."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rdrkd.errors import Problem, SpecError
from rdrkd.figures import counted
from rdrkd.spec.jobs import RUN_SPEC, RunSpec
from rdrkd.spec.problems import problems_of
from rdrkd.spec.training import EvaluationSettings
from rdrkd.spec.unusable import unusable
from rdrkd.suggestion import file_suggestion


def read_spec(file: Path, given: Collection[str] | None = None) -> RunSpec:
    """Read and check a spec file.

    Args:
        file: the file.
        given: the fields of which the command line names the file; None: whether inputs exist is not checked.

    Raises:
        SpecError: it cannot be read, is neither JSON nor YAML, or has invalid fields or missing inputs (one problem
            each).
    """
    data = parse_file(file)
    if data is None:
        raise SpecError(f"expected a job spec in {file}, got an empty file")
    missing = [] if given is None else list(unusable(data, "jobs submit", given))
    try:
        spec = RUN_SPEC.validate_python(data)
    except ValidationError as error:
        raise refusal(file, "spec", [*problems_of(error, data), *missing]) from None
    if missing:
        raise refusal(file, "spec", missing)
    return spec


def refusal(file: Path, what: str, problems: Sequence[Problem]) -> SpecError:
    """Return the refusal of a spec; of several problems of one field, the first counts."""
    listed = list({problem.where: problem for problem in reversed(problems)}.values())[::-1]
    return SpecError(f"{file}: refused because of {counted(len(listed), 'field')} of the {what}", listed)


def evaluation_settings(**fields: Any) -> EvaluationSettings:
    """Validate the settings of an evaluation.

    Raises:
        SpecError: settings are invalid (one problem each).
    """
    try:
        return EvaluationSettings(**fields)
    except ValidationError as error:
        problems = problems_of(error, fields)
        raise SpecError(f"refused because of {counted(len(problems), 'setting')}", problems) from None


def parse_file(file: Path, what: str = "a job spec") -> Any:
    """Parse a JSON or YAML file that should hold `what`.

    Raises:
        SpecError: it cannot be read, or is neither JSON nor YAML.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"expected {what} in {file}, got a binary file") from error
    except FileNotFoundError:
        raise SpecError(f"expected {what} in {file}, got nothing there{file_suggestion(file)}") from None
    except OSError as error:
        raise SpecError(f"expected {what} in {file}, got {error}") from error
    return parse_text(text, str(file), file.suffix == ".json")


def parse_text(text: str, where: str, is_json: bool = False) -> Any:
    """Parse JSON or YAML.

    Raises:
        SpecError: it is neither; `where` says in which file.
    """
    try:
        # JSON is almost a subset of YAML, but YAML 1.1 reads 1e-5 as a string.
        return json.loads(text) if is_json else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"expected JSON or YAML in {where}, got: {_in_words(error)}") from error


def _in_words(error: json.JSONDecodeError | yaml.YAMLError) -> str:
    """Return what a parser found and where, in one line."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return problem if mark is None else f"{problem} in line {mark.line + 1}"
