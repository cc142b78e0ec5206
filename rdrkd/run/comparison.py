"""Compare teacher, student alone and distilled student, each with the same fields.

`docs/training.md` documents the schema; API clients depend on it.
"""

from collections.abc import Mapping
from typing import Any

from rdrkd.figures import FIGURES, duration
from rdrkd.models import LoadedModel
from rdrkd.models.weights import parameters_of
from rdrkd.run_warnings import NOTHING
from rdrkd.ultralytics_adapter import get_flops

_HALF = 2  # bytes per weight in `student.pt`


def card(loaded: LoadedModel, imgsz: int) -> dict[str, Any]:
    """Return the size of a network with an input of `imgsz` px, and its class names."""
    return {
        "architecture": loaded.architecture,
        "parameters": parameters_of(loaded.model),
        "gflops": round(float(get_flops(loaded.model, imgsz)), 3),
        "imgsz": imgsz,
        "names": list(loaded.names),
    }


def entry(
    name: str,
    loaded: LoadedModel,
    metrics: Mapping[str, Any],
    imgsz: int,
    training: Mapping[str, Any] | None = None,
    latency: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the fields of one network.

    Args:
        name: display name.
        loaded: the network.
        metrics: as returned by `evaluate`.
        imgsz: side of its input, px.
        training: `seconds`, `epochs` and `best_epoch`; None for a network that was not trained in this run.
        latency: milliseconds per image and the device they were measured on; None if not measured.
    """
    training, size = training or {}, card(loaded, imgsz)
    del size["names"]  # the same in all of them
    return {
        "name": name,
        **size,
        "megabytes": round(_HALF * sum(each.numel() for each in loaded.model.state_dict().values()) / 1e6, 2),
        **{figure: metrics["coco"][figure] for figure in FIGURES},
        "operating_points": metrics["operating_points"],
        "latency": latency,
        "training_seconds": training.get("seconds"),
        "epochs": training.get("epochs"),
        "best_epoch": training.get("best_epoch"),
    }


def compared(
    split: str, teacher: dict[str, Any] | None, alone: dict[str, Any] | None, student: dict[str, Any]
) -> dict[str, Any]:
    """Return the `comparison` of a result: the entries, the gain from distillation, and a sentence about it."""
    difference = None if alone is None else {name: _difference(student[name], alone[name]) for name in FIGURES}
    return {
        "split": split,
        "teacher": teacher,
        "alone": alone,
        "student": student,
        "difference": difference,
        "summary": _summary(student, alone, difference),
    }


def _difference(student: float | None, alone: float | None) -> float | None:
    return None if student is None or alone is None else round(student - alone, 3)


def _summary(student: dict[str, Any], alone: dict[str, Any] | None, difference: dict[str, float | None] | None) -> str:
    if alone is None or difference is None:
        return (
            "Nothing is known about the gain, because the student was not trained alone. `baseline: true` in the spec "
            "(`--baseline` on the command line) does that in the same job."
        )
    gain = difference["AP"]
    if gain is None:
        return "The images contain no objects, so the networks cannot be compared."
    if max(student["AP"], alone["AP"]) < NOTHING:
        return (
            f"Neither the distilled student (AP {student['AP']:.1f} %) nor the same student trained alone "
            f"(AP {alone['AP']:.1f} %) has learnt anything yet, so this run says nothing about the gain."
        )
    seconds = [network["training_seconds"] for network in (student, alone)]
    times = "" if None in seconds else f"; training took {duration(seconds[0])} instead of {duration(seconds[1])}"
    much = "as good as" if abs(gain) < 0.05 else f"{abs(gain):.1f} points {'better' if gain > 0 else 'worse'} than"
    return (
        f"In this one run the distilled student (AP {student['AP']:.1f} %) is {much} the same student trained alone "
        f"(AP {alone['AP']:.1f} %){times}. One seed proves nothing: seeds alone often differ by a point or more. "
        "A study (`rdrkd study`) repeats the comparison with several seeds and gives an interval."
    )
