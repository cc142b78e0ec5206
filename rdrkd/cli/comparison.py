"""Print the outcome of a distillation: teacher, student alone and student side by side, and whether it was worth it."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rdrkd.figures import duration, latency, percent
from rdrkd.run_warnings import verdict_of

_WHO = {"teacher": "teacher", "alone": "student alone", "student": "student"}
_FIGURES = ("AP", "AP50", "AP_S")


def show_details(comparison: Mapping[str, Any], console: Console) -> None:
    """Print operating points and cost of a result's networks. Fits 80 columns."""
    shown = _shown(comparison)
    console.print(_points(shown))
    console.print(_cost(shown))


def show_verdict(result: Mapping[str, Any], console: Console, say: Callable[[str], str] = str) -> None:
    """Print the accuracy of a result's networks, its warnings and what it says about the gain. Fits 80 columns."""
    if comparison := result.get("comparison"):
        title = f"Was it worth it? COCO metrics on the {comparison['split']} images, percent"
        console.print(title, style="italic", highlight=False)
        console.print(_found(_shown(comparison), comparison))
    style = "bold red" if result.get("warnings") else "bold"
    if verdict := " ".join(verdict_of(result)):
        console.print(say(verdict), style=style, highlight=False, markup=False)


def _shown(comparison: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {who: comparison[who] for who in _WHO if comparison.get(who)}


def _found(shown: Mapping[str, Mapping[str, Any]], comparison: Mapping[str, Any]) -> Table:
    table = _table(None, *_FIGURES)
    for who, network in shown.items():
        table.add_row(_WHO[who], *(percent(network[name]) for name in _FIGURES))
    if comparison["difference"] is not None:
        gains = [_signed(comparison["difference"][name]) for name in _FIGURES]
        table.add_row("student - alone", *gains, style="bold")
        figures = (comparison["difference"], shown["student"], shown["alone"])
        if any(_seems_wrong(*(each[name] for each in figures)) for name in _FIGURES):
            table.caption = "differences are those of the unrounded figures"
    return table


def _points(shown: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ("precision", "recall", "f1")
    table = _table("Precision, recall and F1, percent: at confidence .25, and where F1 is best",
                   "P@.25", "R@.25", "F1@.25", "best at", "P", "R", "F1")  # fmt: skip
    for who, network in shown.items():
        usual, best = (network["operating_points"][at] for at in ("usual", "best_f1"))
        cells = [percent(usual[name]) for name in names], [percent(best[name]) for name in names]
        table.add_row(_WHO[who], *cells[0], f"{best['confidence']:.2g}", *cells[1])
    return table


def _cost(shown: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("What they cost", "network", "M params", "MB", "ms/image", "training")
    for who, network in shown.items():
        seconds = network["training_seconds"]
        table.add_row(
            _WHO[who],
            escape(str(network["architecture"] or network["name"])),
            f"{network['parameters'] / 1e6:.2f}",
            f"{network['megabytes']:.1f}",
            latency(network["latency"]),
            "-" if seconds is None else duration(seconds),
        )
    if any(network["latency"] for network in shown.values()):
        table.caption = "ms/image: median (quartiles); where these overlap, a difference is noise"
    return table


def _table(title: str | None, *headings: str) -> Table:
    table = Table("", title=title, box=SIMPLE_HEAD, collapse_padding=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _seems_wrong(difference: float | None, student: float | None, alone: float | None) -> bool:
    """Return whether a rounded difference is not that of the rounded figures.

    >>> _seems_wrong(2.08, 21.44, 19.36), _seems_wrong(2.0, 21.4, 19.4), _seems_wrong(None, None, 19.4)
    (True, False, False)
    """
    if difference is None or student is None or alone is None:
        return False
    return f"{difference:.1f}" != f"{round(student, 1) - round(alone, 1):.1f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"
