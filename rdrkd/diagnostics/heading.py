"""The heading of a report: the run, its state, and its main figures."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from rdrkd.diagnostics.history import Run, at, finite
from rdrkd.diagnostics.words import number
from rdrkd.figures import duration, percent
from rdrkd.run_warnings import doubts_of


class Heading(NamedTuple):
    """The heading's fields.

    Attributes:
        subject: student, teacher and dataset.
        state: whether the run is finished, and its epochs.
        facts: label -> value, the most important first.
        made_with: versions and device.
        doubts: sentences that the student has learnt nothing, to be read first.
        gain: what a finished distillation says about the gain; empty if nothing.
    """

    name: str
    kind: str
    subject: str
    state: str
    finished: bool
    facts: dict[str, str]
    made_with: str
    doubts: list[str]
    gain: str


def heading(run: Run) -> Heading:
    """Return the heading of a run's report."""
    return Heading(
        name=str(run.setting("name") or run.folder),
        kind=str(run.setting("kind") or "run"),
        subject=subject(run.spec),
        state=_state(run),
        finished=run.result is not None,
        facts={label: value for label, value in _facts(run).items() if value},
        made_with=_made_with(run),
        doubts=doubts_of((notice.code, notice.message) for notice in run.warnings),
        gain=str(at(run.result, "comparison", "summary") or ""),
    )


def subject(spec: Mapping[str, Any]) -> str:
    """Describe student, teacher and dataset of a resolved spec, by display name if known."""
    dataset = _called(spec, "dataset") or PurePath(str(spec.get("dataset") or "an unknown dataset")).name
    if spec.get("kind") != "distill":
        return f"{_model(spec, 'model')} on {dataset}"
    student, terms = _model(spec, "student"), at(spec, "distillation", "losses")
    return f"{_model(spec, 'teacher')} → {student} on {dataset}" if terms else f"{student} alone on {dataset}"


def _called(spec: Mapping[str, Any], field: str) -> str | None:
    """Return the display name of a field's dataset or model, if known."""
    name = at(spec, "provenance", "names", field)
    return name if isinstance(name, str) and name else None


def _model(spec: Mapping[str, Any], field: str) -> str:
    """Return a model's display name, or the spec's reference; for a path, the file name only."""
    if (name := _called(spec, field)) is not None:
        return name
    reference = spec.get(field)
    if not isinstance(reference, Mapping) or not reference:
        return "a model"
    way, value = next(iter(reference.items()))
    return PurePath(str(value)).name if way == "path" else str(value)


def _state(run: Run) -> str:
    done, planned = len(run.rows), run.planned
    if run.history_missing:
        return "finished: the history of its epochs (metrics.jsonl) is missing"
    ended = "finished" if run.result is not None else "failed" if run.failure is not None else "not finished"
    if not planned:
        return ended
    note = ""
    if ended == "finished" and done < planned:
        note = " (stopped early)"
    elif ended == "not finished" and run.alone:
        note = f", then {run.alone} of {planned} of the student alone"
    elif ended == "not finished" and done >= planned:
        note = ", not evaluated yet"
    return f"{ended}: {done} of {planned} epochs{note}"


def without_curves(run: Run) -> str:
    """Return why a report has no curves."""
    if run.history_missing:
        return "The history of the epochs (metrics.jsonl) is missing: there is nothing to draw."
    if run.setting("kind") == "evaluate":
        return "An evaluation has no epochs to draw."
    if run.setting("kind") == "export":
        return "An export has no epochs to draw."
    return "No epoch is finished: there is nothing to draw" + (" yet." if run.failure is None else ".")


def _facts(run: Run) -> dict[str, str]:
    coco, student = at(run.result, "metrics", "coco"), at(run.result, "student")
    last = run.rows[-1].metrics if run.rows else {}
    seconds = [row.seconds for row in run.rows if row.seconds is not None]
    parameters, best = finite(at(student, "parameters")), finite(at(run.result, "best_epoch"))
    own = "" if coco or "mAP50_95" not in last else percent(last["mAP50_95"])
    teacher, alone = (finite(at(run.result, "comparison", who, "AP")) for who in ("teacher", "alone"))
    best_f1 = at(run.result, "metrics", "operating_points", "best_f1")
    confidence = finite(at(best_f1, "confidence"))
    return {
        "AP, COCO protocol": percent(finite(at(coco, "AP"))) if coco else "",
        "AP of the teacher": percent(teacher) if teacher is not None else "",
        "AP of the student alone": percent(alone) if alone is not None else "",
        "AP50, COCO protocol": percent(finite(at(coco, "AP50"))) if coco else "",
        "best F1": f"{percent(finite(at(best_f1, 'f1')))} from {confidence:.2g}" if confidence is not None else "",
        "mAP50-95 so far, Ultralytics' own": own,
        "best epoch": number(best) if best else "",
        "network": str(at(student, "architecture") or ""),
        "parameters": f"{parameters / 1e6:.2f} M" if parameters else "",
        "per epoch": duration(sum(seconds) / len(seconds)) if seconds else "",
        "training": duration(sum(seconds)) if seconds else "",
    }


def _made_with(run: Run) -> str:
    versions, device = run.setting("provenance", "versions"), run.setting("provenance", "device")
    named = [f"{name} {version}" for name, version in versions.items()] if isinstance(versions, dict) else []
    return ", ".join([*named, *([f"on {device}"] if device else [])])
