"""A job's series, put together into charts: which belong on one axis, and what each axis measures."""

from collections.abc import Iterable
from typing import Any

TASK = ("box", "cls", "dfl")
# Below the first a term hardly moves the student, above the second it drowns the task: docs/diagnostics.md.
INERT, DROWNS = 0.001, 3.0


def charts(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the charts that a job's series make, in the order in which they are read."""
    drawn = [
        _chart("Average precision, validation", "%", _labelled(columns, "metrics/", _is_ap)),
        _chart("Precision and recall, validation", "%", _labelled(columns, "metrics/", lambda name: not _is_ap(name))),
        _chart("Task loss", "", _labelled(columns, "losses/", lambda name: name in TASK)),
        *(
            _chart(f"Loss term {name}, unweighted", "", [(name, values)])
            for name, values in _labelled(columns, "losses/", lambda name: name not in TASK)
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
    # A logarithm of nothing has no place on the axis.
    if more.get("logarithmic"):
        kept = [one | {"values": [v if v and v > 0 else None for v in one["values"]]} for one in kept]
    return {"title": title, "unit": unit, "series": kept} | more


def _labelled(
    columns: dict[str, list[Any]], prefix: str, wanted: "Any" = lambda name: True
) -> list[tuple[str, list[Any]]]:
    named = [(name.removeprefix(prefix), values) for name, values in columns.items() if name.startswith(prefix)]
    return [(name, values) for name, values in named if wanted(name)]


def _ratios(columns: dict[str, list[Any]]) -> list[tuple[str, list[Any]]]:
    """Return each term's ratio; those of its levels and parts are in the report."""
    named = _labelled(columns, "diagnostics/", lambda name: name.endswith("/ratio") and name.count("/") == 1)
    return [(name.removesuffix("/ratio"), values) for name, values in named]


def _is_ap(name: str) -> bool:
    return name.startswith(("mAP", "AP"))
