"""The card beside a student's weights: what it is, how good, how it was made, and how to use it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rdrkd.diagnostics.heading import subject
from rdrkd.diagnostics.history import at
from rdrkd.evaluation.operating_points import threshold_of
from rdrkd.figures import FIGURES, latency, percent
from rdrkd.files import write_atomically
from rdrkd.models.weights import LICENSE
from rdrkd.paths import without_paths
from rdrkd.run_folder.names import CARD
from rdrkd.run_warnings import doubts_of

_WHO = {"teacher": "teacher", "alone": "student alone", "student": "this network"}
_SETTINGS = ("epochs", "imgsz", "batch", "optimizer", "lr0", "seed")


def write(run_dir: Path, resolved: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Write a training's card into its run folder.

    Args:
        run_dir: the run folder.
        resolved: the resolved spec.
        result: as `result.json` will have it.
    """
    text = "\n".join(_lines(resolved, result)) + "\n"
    write_atomically(run_dir / CARD, without_paths(text).encode(errors="replace"))


def _lines(resolved: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    student, confidence = result["student"], threshold_of(result["metrics"])
    yield f"# {resolved.get('name') or student['architecture'] or 'A detector'}"
    yield ""
    for doubt in doubts_of((warning["code"], warning["message"]) for warning in result.get("warnings", [])):
        yield f"> **{doubt}**"
        yield ""
    yield f"{subject(resolved)}. Classes: {', '.join(student['names'])}."
    yield ""
    yield from _table(result)
    best = result["metrics"]["operating_points"]["best_f1"]
    figures = ", ".join(f"{name} {percent(best[name])}" for name in ("precision", "recall", "f1"))
    if best["f1"]:
        yield f"Count boxes from a confidence of **{confidence:g}**, which gives the best F1 ({figures} percent):"
    else:
        yield "On the validation images, the network finds no object at any confidence. To run it:"
    yield ""
    yield "```python"
    yield "from ultralytics import YOLO"
    yield f'YOLO("student.pt").predict("image.jpg", imgsz={student["imgsz"]}, conf={confidence:g})'
    yield "```"
    yield ""
    yield from _making(resolved, result)
    yield f"Licence: {LICENSE}"


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a row for each network in the result."""
    comparison = result.get("comparison") or {}
    yield f"| validation images, percent | {' | '.join(FIGURES)} | M parameters | ms for an image, median (quartiles) |"
    yield "|---" * (len(FIGURES) + 3) + "|"
    known = {who: comparison[who] for who in _WHO if comparison.get(who)}
    own = {**result["metrics"]["coco"], "parameters": result["student"]["parameters"]}
    for who, network in (known or {"student": own}).items():
        cells = [percent(network[name]) for name in FIGURES]
        cells += [f"{network['parameters'] / 1e6:.2f}", latency(at(network, "latency"))]
        yield f"| {_WHO[who]} | {' | '.join(cells)} |"
    yield ""
    if comparison:
        yield comparison["summary"]
        yield ""


def _making(resolved: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    train = resolved["train"]
    made = [f"{name} {train[name]}" for name in _SETTINGS]
    if preset := at(resolved, "distillation", "preset"):
        made.insert(0, f"preset {preset}")
    provenance = resolved["provenance"]
    yield f"Trained with {', '.join(made)}: the best of {result['epochs']} epochs was number {result['best_epoch']}."
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    yield f"Dataset sha256 `{provenance['dataset_sha256']}`; {versions}."
    yield ""
