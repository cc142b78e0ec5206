"""How a study's members were trained: settings common to all rows once, and each row's own settings.

A row's settings come from its members' records. Records of earlier versions have none: if the study's own settings
yield such a member's hash, it was trained with them; else they are unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rdrkd.diagnostics.history import at
from rdrkd.study import settings
from rdrkd.study.members import digest
from rdrkd.study.results import Results
from rdrkd.study.settings import Texts
from rdrkd.study.statistics import Row

_OF_TRAINING = "train."


class Making(NamedTuple):
    """How the members were trained: the common settings in sentences, and a table of each row's own."""

    shared: list[str]
    header: list[str]
    rows: list[list[str]]


def making(results: Results, rows: Sequence[Row]) -> Making:
    """Return how the members of a study's rows were trained."""
    facts = [_facts(row, results) for row in rows]
    shared = _shared(facts)
    cells = [
        [row.label, settings.terms(row.members[0].get("terms")), _own(row, rows, own, shared)]
        for row, own in zip(rows, facts, strict=True)
    ]
    columns = 3 if any(own for _, _, own in cells) else 2
    return Making(
        [*_sentences(results, rows, shared), *teachers(results)],
        ["method", "terms", "of this row alone"][:columns],
        [[cell or "-" for cell in row[:columns]] for row in cells],
    )


def teachers(results: Results) -> list[str]:
    """Describe the teachers that a study has trained, and the given ones."""
    trained = results.get("teachers", {})
    said = []
    for name, teacher in trained.items():
        ap = teacher["metrics"]["AP"]
        how = settings.as_text(settings.training(teacher.get("train", {}))) or f"{teacher['epochs']} epochs"
        figure = "-" if ap is None else f"{ap:.2f}"
        said.append(f"Teacher {name}: {teacher['student']['architecture']}, AP {figure}, trained with {how}")
    hashes = dict.fromkeys(member.get("teacher_sha256") for member in results["members"])
    own = {teacher.get("sha256") for teacher in trained.values()}
    given = [sha for sha in hashes if sha and sha not in own]
    name = _given(results.get("study")) if len(given) == 1 else "weights"
    return said + [f"Teacher: {name}, used as it is (sha256 {sha[:12]})" for sha in given]


def _given(study: Any) -> str:
    """Return the spec's name for a teacher that the study does not train."""
    model = at(study, "teacher", "model") or {}
    return str(next(iter(model.values()), "weights")) if at(study, "teacher", "train") is None else "weights"


def _facts(row: Row, results: Results) -> Texts:
    """Return the settings of a row's members; where they differ, all values."""
    found: dict[str, list[str]] = {}
    for member in row.members:
        versions = dict(member.get("versions", {}))
        device, start = versions.pop("device", ""), member.get("start_sha256")
        own = {f"{_OF_TRAINING}{name}": text for name, text in settings.training(_settings(member, results)).items()}
        own["student"] = member["student"]["architecture"]
        own["start weights"] = f"of sha256 {start[:12]}" if start else ""
        own["software"] = ", ".join(f"{name} {version}" for name, version in versions.items())
        own["device"] = device
        for name, text in own.items():
            if text and text not in found.setdefault(name, []):
                found[name].append(text)
    return {name: " and ".join(sorted(values)) for name, values in found.items() if values}


def _settings(member: Mapping[str, Any], results: Results) -> Mapping[str, Any]:
    """Return the training settings of a member, from its record, or from the study if its hash proves them."""
    if own := member.get("train"):
        return dict(own)
    study = results.get("study")
    of_study = {name: value for name, value in (at(study, "train") or {}).items() if name != "seed"}
    proven = digest([results["dataset_sha256"], at(study, "student"), of_study]) == member["setting"]
    return of_study if proven else {}


def _shared(facts: Iterable[Texts]) -> Texts:
    """Return the settings that are equal in all rows where they are known."""
    values: dict[str, set[str]] = {}
    for own in facts:
        for name, text in own.items():
            values.setdefault(name, set()).add(text)
    return {name: next(iter(found)) for name, found in values.items() if len(found) == 1}


def _sentences(results: Results, rows: Sequence[Row], shared: Texts) -> list[str]:
    seeds = sorted({member["seed"] for row in rows for member in row.members})
    start = f"start weights {shared['start weights']}" if "start weights" in shared else ""
    said = {
        "Data": f"{results['dataset']} (sha256 {results['dataset_sha256'][:12]})",
        "Student": ", ".join(filter(None, [shared.get("student"), start])),
        "Seeds": ", ".join(map(str, seeds)),
        "Training": settings.as_text(_of_training(shared)),
        "Software": shared.get("software"),
        "Device": shared.get("device"),
    }
    return [f"{name}: {text}" for name, text in said.items() if text]


def _of_training(facts: Texts) -> Texts:
    return {name.removeprefix(_OF_TRAINING): text for name, text in facts.items() if name.startswith(_OF_TRAINING)}


def _own(row: Row, rows: Sequence[Row], facts: Texts, shared: Texts) -> str:
    """Return a row's own settings: those not shared by all rows; the terms' settings if its method has several rows."""
    own = {name.removeprefix(_OF_TRAINING): text for name, text in facts.items() if name not in shared}
    of_method = [settings.details(other.members[0].get("terms")) for other in rows if other.method == row.method]
    mine = settings.details(row.members[0].get("terms"))
    for name in dict.fromkeys(name for details in of_method for name in details):
        if len({details.get(name) for details in of_method}) > 1:
            own[name] = mine.get(name, "none")
    unknown = [] if _of_training(facts) else ["training settings not recorded"]
    return ", ".join([*(f"{name} {text}" for name, text in own.items()), *unknown])
