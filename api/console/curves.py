"""Group a job's series into charts: the series that share an axis, and the axis's quantity."""

from collections.abc import Iterable
from typing import Any

from rdrkd.epochs import ALONE, STUDENT

TASK = ("box", "cls", "dfl")
# Below the first, a term hardly affects the student; above the second, it drowns the task (docs/diagnostics.md).
INERT, DROWNS = 0.001, 3.0


def charts(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the charts of a job's series, in reading order."""
    columns = side_by_side(columns)
    drawn = [
        _chart("Average precision during training, by Ultralytics", "%", _average_precision(columns)),
        _chart("Precision and recall, validation", "%", _labelled(columns, "metrics/", lambda name: not _is_ap(name))),
        _chart("Task loss", "", _labelled(columns, "losses/", _is_task)),
        *(
            _chart(f"Loss term {name}, unweighted", "", [(name, values)])
            for name, values in _labelled(columns, "losses/", lambda name: not _is_task(name))
        ),
        _chart(
            "Gradient of each term, relative to the task's", "×", _ratios(columns), logarithmic=True,
            bounds=[INERT, DROWNS],
        ),
        _chart("Weight of each term", "", _labelled(columns, "weights/"), logarithmic=True),
        _chart("Learning rate", "", [("lr", columns["lr"])] if "lr" in columns else []),
    ]  # fmt: skip
    attempts = columns["attempt"]
    resumed = [epoch for epoch, a, b in zip(columns["epoch"][1:], attempts, attempts[1:], strict=False) if a != b]
    return {"epochs": columns["epoch"], "resumed": resumed, "charts": [each for each in drawn if each["series"]]}


def _chart(title: str, unit: str, series: Iterable[tuple[str, list[Any]]], **more: Any) -> dict[str, Any]:
    kept = [{"name": name, "values": values} for name, values in series if any(value is not None for value in values)]
    # Zero has no position on a logarithmic axis.
    if more.get("logarithmic"):
        kept = [one | {"values": [v if v and v > 0 else None for v in one["values"]]} for one in kept]
    return {"title": title, "unit": unit, "series": kept} | more


def _labelled(
    columns: dict[str, list[Any]], prefix: str, wanted: "Any" = lambda name: True
) -> list[tuple[str, list[Any]]]:
    named = [(name.removeprefix(prefix), values) for name, values in columns.items() if name.startswith(prefix)]
    return [(name, values) for name, values in named if wanted(name)]


def _average_precision(columns: dict[str, list[Any]]) -> list[tuple[str, list[Any]]]:
    """Label the figures as Ultralytics does: the result's AP, by COCO's protocol, may differ by some points."""
    named = _labelled(columns, "metrics/", _is_ap)
    return [(name.replace("mAP50_95", "mAP50-95"), values) for name, values in named]


def _ratios(columns: dict[str, list[Any]]) -> list[tuple[str, list[Any]]]:
    """Return each term's ratio; the report has those of its levels and parts."""
    named = _labelled(columns, "diagnostics/", lambda name: name.endswith("/ratio") and name.count("/") == 1)
    return [(name.removesuffix("/ratio"), values) for name, values in named]


def side_by_side(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Draw the epochs of a baseline over those of the student, as separate series.

    >>> shown = side_by_side({"epoch": [1, 2, 3], "attempt": [1, 1, 1], "part": ["student", "student", "alone"],
    ...                       "part_epoch": [1, 2, 1], "metrics/mAP50": [1.0, 2.0, 0.5]})
    >>> shown["epoch"], shown["metrics/mAP50"], shown["metrics/mAP50 alone"]
    ([1, 2], [1.0, 2.0], [0.5, None])
    """
    places = list(zip(columns["part"], columns["part_epoch"], strict=True))
    epochs = sorted(set(columns["part_epoch"]))
    shown: dict[str, list[Any]] = {"epoch": epochs}
    for name, values in columns.items():
        if name in ("epoch", "part", "part_epoch"):
            continue
        known = dict(zip(places, values, strict=True))
        ours, theirs = ([known.get((part, epoch)) for epoch in epochs] for part in (STUDENT, ALONE))
        if name == "attempt":
            shown[name] = [a or b for a, b in zip(ours, theirs, strict=True)]
            continue
        shown[name] = ours
        if any(value is not None for value in theirs):
            shown[f"{name} {ALONE}"] = theirs
    return shown


def _is_task(name: str) -> bool:
    return name.removesuffix(f" {ALONE}") in TASK


def _is_ap(name: str) -> bool:
    return name.startswith(("mAP", "AP"))
