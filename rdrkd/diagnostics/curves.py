"""The curves of a report: the panels, and the figures of a run drawn in each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rdrkd.diagnostics import active_epochs
from rdrkd.diagnostics.findings import STRONG, WEAK
from rdrkd.diagnostics.history import Row, Run, at, finite
from rdrkd.diagnostics.verdict import CALLED

Point = tuple[int, float]  # epoch, value
_Group = Literal["losses", "weights", "diagnostics", "metrics"]


class Line(NamedTuple):
    """A curve.

    Attributes:
        label: its name; empty if it shares another curve's.
        look: index of its colour and marker.
        dash: index of its dash pattern.
    """

    label: str
    points: list[Point]
    look: int
    dash: int


class Panel(NamedTuple):
    """Curves on one pair of axes.

    Attributes:
        limits: least range of the vertical axis.
        guides: thin horizontal lines: name -> height.
        mark: epoch of a thin vertical line.
        off: first and last epoch of each shaded period in which the terms were off.
        epochs: first and last epoch of the run, common to all panels: a curve may have fewer.
    """

    title: str
    lines: list[Line]
    log: bool = False
    limits: tuple[float, float] | None = None
    guides: Mapping[str, float] = {}
    mark: float | None = None
    off: Sequence[tuple[int, int]] = ()
    epochs: tuple[int, int] = (1, 1)


def panels(run: Run) -> list[Panel]:
    """Return the non-empty panels of a run."""
    rows, terms, off = run.rows, run.terms, active_epochs.spans(run)
    percent = (0.0, 100.0)
    found = [
        Panel("task losses", _lines(rows, "losses", {name: name for name in run.task_losses})),
        Panel("terms, unweighted", _of_terms(run, active_epochs.on, "losses"), log=True, off=off),
        Panel("gradient of the weighted term, × the task's",
              _of_terms(run, active_epochs.probed, "diagnostics", "/ratio"),
              log=True, guides={CALLED["weak"]: WEAK, CALLED["strong"]: STRONG}, off=off),
        Panel("cosine of the two gradients", _of_terms(run, active_epochs.probed, "diagnostics", "/cosine"),
              limits=(-1, 1), guides={"": 0.0}, off=off),
        Panel("AP by Ultralytics' own validation, percent",
              _lines(rows, "metrics", {"mAP50-95": "mAP50_95", "mAP50": "mAP50"}),
              limits=(0, 1), mark=finite(at(run.result, "best_epoch"))),
        Panel("weights, and the learning rate (lr)" if terms else "learning rate (lr)",
              [*_of_terms(run, active_epochs.on, "weights"), _rate(rows, len(terms))], log=True, off=off),
        Panel("hidden cells, percent", _hidden(run, "cells"), limits=percent),
        Panel("hidden channels, percent", _hidden(run, "channels"), limits=percent),
        Panel("dead channels, percent (dashed: teacher)", _dead(rows), limits=percent),
    ]  # fmt: skip
    shown = [panel for panel in found if any(line.points for line in panel.lines)]
    return [panel._replace(epochs=(rows[0].epoch, rows[-1].epoch)) for panel in shown]


def _points(rows: Iterable[Row], group: _Group, key: str, times: float = 1.0) -> list[Point]:
    return [(row.epoch, times * getattr(row, group)[key]) for row in rows if key in getattr(row, group)]


def _lines(rows: Iterable[Row], group: _Group, keys: Mapping[str, str], times: float = 1.0) -> list[Line]:
    """Return a line for each key of `keys` (label -> key), each with its own look."""
    rows = list(rows)
    return [Line(label, _points(rows, group, key, times), i, i) for i, (label, key) in enumerate(keys.items())]


def _of_terms(run: Run, which: Callable[[Run, str], list[Row]], group: _Group, ending: str = "") -> list[Line]:
    """Return a line for each term over the epochs in which it was on, including terms that were never on."""
    return [
        Line(f"{term} (off)" if active_epochs.never(run, term) else term,
             _points(which(run, term), group, f"{term}{ending}"), i, i)
        for i, term in enumerate(run.terms)
    ]  # fmt: skip


def _rate(rows: Iterable[Row], look: int) -> Line:
    return Line("lr", [(row.epoch, row.lr) for row in rows if row.lr is not None], look, look)


def _hidden(run: Run, what: str) -> list[Line]:
    """Return the hidden shares of masks by level, labelled with the term if several terms have masks."""
    ending = f"/hidden_{what}"
    keys = sorted({key for row in run.rows for key in row.diagnostics if key.endswith(ending)})
    several = len({key.split("/")[0] for key in keys}) > 1
    names = {" ".join(key.removesuffix(ending).split("/")[0 if several else 1 :]): key for key in keys}
    return _lines(run.rows, "diagnostics", names, times=100)


def _dead(rows: list[Row]) -> list[Line]:
    """Return the shares of dead channels by level, of both networks; empty if none ever was dead."""
    dead = {key for row in rows for key, share in row.diagnostics.items() if key.endswith("/dead_channels") and share}
    levels = sorted({key.split("/")[1] for key in dead})
    return [
        Line(level if dash == 0 else "", _points(rows, "diagnostics", f"{role}/{level}/dead_channels", 100), look, dash)
        for look, level in enumerate(levels)
        for dash, role in enumerate(("student", "teacher"))
    ]
