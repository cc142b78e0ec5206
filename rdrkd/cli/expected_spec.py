"""Recognise what is given to a command in place of its spec, and name the option or command that takes it."""

import re
from pathlib import Path

from rdrkd.cli.distill_inputs import ARCHITECTURE, DATASET, ID, WEIGHTS, elsewhere, kind_of
from rdrkd.errors import SpecError

_JOB, _STUDY = "a job spec", "a study spec"
_NETWORKS = {WEIGHTS: "teacher", ARCHITECTURE: "student", DATASET: "data"}
# The commands that take options instead of a spec: the option for each kind of input.
_OPTIONS = {
    "distill": _NETWORKS,
    "jobs submit": _NETWORKS,
    "train": {WEIGHTS: "model", ARCHITECTURE: "model", DATASET: "data"},
}
_IN_A_SPEC = {WEIGHTS: "{{path: {}}}", ARCHITECTURE: "{{architecture: {}}}", DATASET: "dataset: {}"}

_ID_IN_A_SPEC = {"ds_": "dataset: {}", "mdl_": "{{model: {}}}", "job_": "{{job: {}}}"}


def expect_spec(path: Path, command: str) -> None:
    """Check that the argument of a command may be its spec; whether it is one shows when it is read.

    Raises:
        SpecError: it is something else.
    """
    found, own = sort_of(path), _STUDY if command.startswith("stud") else _JOB
    if found not in (None, own):
        is_here = not command.startswith(("jobs", "studies"))  # else an id is in its place in a spec
        way_out = elsewhere(str(path), found) if is_here or found != ID else ""
        way_out = way_out or f"; {_way_out(path, str(found), command)}"
        raise SpecError(f"expected {own}, got {str(path)!r}, {found}{way_out}")


def sort_of(path: Path) -> str | None:
    """Return what a path or name is, by its form and, for YAML and JSON, by its fields; None if that is unknown."""
    kind = kind_of(str(path))
    if kind in (WEIGHTS, ARCHITECTURE) or path.suffix.lower() not in (".yaml", ".yml", ".json"):
        return kind
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None  # its reader says why not
    fields = (("kind", _JOB), ("methods", _STUDY), ("names|nc", DATASET))
    return next((what for names, what in fields if re.search(rf"""\b({names})["']?\s*:""", text)), None)


def _way_out(path: Path, found: str, command: str) -> str:
    if found == ID:
        form = next((form for prefix, form in _ID_IN_A_SPEC.items() if str(path).startswith(prefix)), "{}")
        return f"a spec names it as `{form.format(path)}`"
    if found in _IN_A_SPEC and command not in _OPTIONS:
        return f"a spec names it as `{_IN_A_SPEC[found].format(path)}`"
    if found == _STUDY:
        meant = f"studies submit {path}" if command.startswith("jobs") else f"study run {path} --out FOLDER"
    elif found == _JOB:
        kind = re.search(r"""kind["']?\s*:\s*["']?(\w+)""", path.read_text(encoding="utf-8"))
        meant = f"{kind[1] if kind and command == 'study run' else 'jobs submit'} {path}"
    else:
        options = dict.fromkeys(_OPTIONS[command].values(), "...") | {_OPTIONS[command][found]: str(path)}
        meant = " ".join([command, *(f"--{option} {value}" for option, value in options.items())])
    return f"did you mean `rdrkd {meant}`?"
