"""The results of a study's members, in one JSON file to which runs and machines add."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdrkd.errors import SpecError
from rdrkd.files import write_atomically
from rdrkd.spec.problems import problems_of
from rdrkd.study.members import Key

FORMAT = 1
WEIGHTS = "weights"  # beside it: `<number>-<method>.pt`, the panel's columns from left to right
FIGURES = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
_MOST_PROBLEMS = 10  # reported of a damaged file: its members fail alike
_REMEDY = (
    "; if it is damaged and lies in a study's folder, move it away: `rdrkd study run` makes it anew of the run folders "
    "beside it, and trains no finished member again"
)
Results = dict[str, Any]


def key_of(member: Mapping[str, Any]) -> Key:
    """Return the key of a recorded member."""
    return member["method"], member["seed"], member["hash"]


def read(path: Path) -> Results:
    """Read a study's results.

    Raises:
        SpecError: the file is missing, or holds no valid results (with the first problems and advice).
    """
    try:
        found: Results = json.loads(path.read_text())
    except OSError as error:
        raise SpecError(f"expected a study's results in {path}, got {type(error).__name__}: {error}") from error
    except ValueError as error:
        raise SpecError(f"expected a study's results in {path}, got no JSON ({error}){_REMEDY}") from error
    try:
        _Results.model_validate(found)
    except ValidationError as error:
        problems = problems_of(error, found)
        message = f"expected a study's results in {path}, got {len(problems)} faults{_REMEDY}"
        raise SpecError(message, problems[:_MOST_PROBLEMS]) from None
    return found


def write(results: Results, path: Path) -> None:
    """Write results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())


def own_part(whole: Results, keys: Collection[Key], teacher: str) -> Results:
    """Select the members and failures with these keys, and this teacher, from another study's results."""
    return {
        **whole,
        "members": [member for member in whole["members"] if key_of(member) in keys],
        "failures": [failure for failure in whole.get("failures", []) if key_of(failure) in keys],
        "teachers": {name: found for name, found in whole.get("teachers", {}).items() if name == teacher},
        "notes": [],
    }


def merge(parts: Iterable[Results]) -> Results:
    """Merge results on the same dataset; of a member trained twice, keep the first and add a note.

    A failure is kept until its member is finished.

    Raises:
        SpecError: the datasets differ.
    """
    first, *others = parts
    merged: Results = {"commands": [], "teachers": {}, "failures": [], "notes": [], **first, "members": []}
    for part in (first, *others):
        if part["dataset_sha256"] != first["dataset_sha256"]:
            raise SpecError(
                f"expected results on the dataset {first['dataset']} (sha256 {first['dataset_sha256'][:12]}), got some "
                f"on {part['dataset']} ({part['dataset_sha256'][:12]})"
            )
        known, notes = {key_of(member): member for member in merged["members"]}, list(part.get("notes", []))
        for member in part["members"]:
            there = known.setdefault(key_of(member), member)
            if there["metrics"] != member["metrics"]:
                notes.append(_twice(there, member))
        merged = {
            **merged,
            "members": list(known.values()),
            "commands": list(dict.fromkeys([*merged["commands"], *part.get("commands", [])])),
            "teachers": {**part.get("teachers", {}), **merged["teachers"]},
            "failures": [*merged["failures"], *part.get("failures", [])],
            "notes": list(dict.fromkeys([*merged["notes"], *notes])),
        }
    done = {key_of(member) for member in merged["members"]}
    failures = {key_of(failure): failure for failure in merged["failures"] if key_of(failure) not in done}
    return {**merged, "members": ordered(merged["members"]), "failures": list(failures.values())}


def ordered(members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort members by method, in order of first occurrence, and by seed."""
    methods = list(dict.fromkeys(member["method"] for member in members))
    return sorted(members, key=lambda m: (methods.index(m["method"]), m["hash"], m["seed"]))


def _twice(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    name = f"{first['method']}, seed {first['seed']} ({first['hash'][:6]})"
    figures = f"AP {first['metrics']['AP']:.2f} and {second['metrics']['AP']:.2f}"
    return f"{name} was trained twice, {figures}: the first is kept"


class _Content(BaseModel):
    """Part of a results file: only the fields that are read here."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class _Figures(_Content):
    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_S: float | None
    AP_M: float | None
    AP_L: float | None


class _Epoch(_Content):
    mAP50_95: float | None  # noqa: N815 - the metric's name


class _Term(_Content):
    name: str
    weight: float


class _Distillation(_Content):
    losses: list[_Term] = []
    calibration: dict[str, Any] | None = None
    schedule: dict[str, Any] | None = None


class _Network(_Content):
    architecture: str
    parameters: int
    gflops: float


class _Key(_Content):
    method: str
    seed: int
    hash: str


class _Member(_Key):
    setting: str
    metrics: _Figures
    curve: list[_Epoch]
    seconds: float
    processor_seconds: float | None = None  # absent in earlier versions' records
    epochs: int = Field(ge=1)
    memory_bytes: int
    student: _Network
    per_class: dict[str, dict[str, float | None]] = {}
    versions: dict[str, str] = {}
    jobs: int | None = None
    as_long_as: str | None = None  # for a control: the method whose time it got, by lengthening it `stretched` times
    stretched: float | None = None
    teacher_sha256: str | None = None
    start_sha256: str | None = None
    train: dict[str, Any] = {}  # absent in earlier versions' records
    terms: _Distillation | None = None


class _Failure(_Key):
    reason: str
    message: str


class _Teacher(_Content):
    metrics: _Figures
    student: _Network
    epochs: int
    train: dict[str, Any] = {}
    sha256: str | None = None


class _Results(_Content):
    format: Literal[1]
    name: str
    dataset: str
    dataset_sha256: str
    members: list[_Member]
    commands: list[str] = []
    teachers: dict[str, _Teacher] = {}
    failures: list[_Failure] = []
    notes: list[str] = []
    study: dict[str, Any] = {}
