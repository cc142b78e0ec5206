"""Convert a form's fields to a study's spec."""

from collections.abc import Mapping
from typing import Any

from api.console.specs import settings_of, source_of, value_of

GROUPS = {
    "table1": "the methods of the RDR-KD paper's Table I",
    "table2": "the terms of the RDR-KD paper's Table II, one by one and together",
    "controls": "the student alone for the same time, at other learning rates, with a P2 head, at a larger input",
}
METRICS = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")


def study_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Build a study's spec from a form's fields; empty ones are ignored.

    >>> study_of({"name": "s", "teacher": "architecture:yolov8l", "teacher.epochs": "9", "method.none": "on",
    ...           "seeds": "0, 2-4", "decide": "on", "decide.metric": "AP_S", "train.epochs": "5", "train.seed": "1"})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'name': 's', 'teacher': {'model': {'architecture': 'yolov8l'}, 'train': {'epochs': 9}}, 'methods': ['none'],
     'seeds': [0, 2, 3, 4], 'decide': {'metric': 'AP_S'}, 'train': {'epochs': 5}}
    """
    given = {name: str(value).strip() for name, value in fields.items() if str(value).strip()}
    made: dict[str, Any] = {name: given[name] for name in ("name", "dataset") if name in given}
    train = {name: value for name, value in settings_of(given).items() if name != "seed"}  # seeds have a separate field
    if "teacher" in given:
        made["teacher"] = {"model": source_of(given["teacher"])}
        if given["teacher"].startswith("architecture:"):
            own = {"epochs": value_of(given["teacher.epochs"])} if "teacher.epochs" in given else {}
            made["teacher"]["train"] = train | own
    if "student" in given:
        made["student"] = source_of(given["student"])
    made["methods"] = [name.removeprefix("method.") for name in given if name.startswith("method.")]
    if "seeds" in given:
        made["seeds"] = [seed for part in given["seeds"].split(",") for seed in _seeds(part.strip())]
    if "decide" in given:
        rule = {name: value_of(given[f"decide.{name}"]) for name in ("metric", "least") if f"decide.{name}" in given}
        made["decide"] = rule
    return made | ({"train": train} if train else {})


def _seeds(part: str) -> list[Any]:
    """Parse a seed or a range; return anything else unchanged, for the service to refuse.

    >>> _seeds("3"), _seeds("0-2"), _seeds("x"), _seeds("5-1")
    ([3], [0, 1, 2], ['x'], ['5-1'])
    """
    first, _, last = part.partition("-")
    if first.isdecimal() and last.isdecimal() and int(first) <= int(last) < int(first) + 1000:
        return list(range(int(first), int(last) + 1))
    return [int(part) if part.isdecimal() else part]
