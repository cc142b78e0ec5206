"""The plots of a study: learning curves over seeds, and differences with their intervals; readable without colour."""

import io
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rdrkd.diagnostics.axes import plain_number
from rdrkd.study.gains import Gain
from rdrkd.study.results import FIGURES
from rdrkd.study.statistics import Row

_STYLES = [("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "v"), ("--", "x"), ("-.", "P"), (":", "*")]
_GREYS = ["#000000", "#0b5cad", "#b3470b", "#3b7d23", "#7a3b9e", "#8c6d00", "#00747a", "#a11d4b"]


def draw_curves(rows: Sequence[Row]) -> bytes | None:
    """Draw Ultralytics' own mAP50-95 by epoch, mean and range over the seeds, as PNG; None without a curve."""
    figure = curves_of(rows)
    return _png(figure) if figure is not None else None


def curves_of(rows: Sequence[Row]) -> Figure | None:
    """Build the figure for `draw_curves`."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    longest = 0
    for row, (line, marker), colour in zip(rows, cycle(_STYLES), cycle(_GREYS), strict=False):
        curves = [[epoch["mAP50_95"] for epoch in member["curve"]] for member in row.members if member["curve"]]
        curves = [curve for curve in curves if all(value is not None for value in curve)]
        if not curves:
            continue
        longest = max(longest, length := min(map(len, curves)))
        by_epoch = list(zip(*(curve[:length] for curve in curves), strict=True))
        epochs = list(range(1, length + 1))
        axes.fill_between(epochs, [min(v) for v in by_epoch], [max(v) for v in by_epoch], color=colour, alpha=0.12)
        axes.plot(
            epochs, [sum(v) / len(v) for v in by_epoch], line, color=colour, marker=marker, markersize=4,
            markevery=max(1, length // 10), label=f"{row.label} ({len(curves)})",
        )  # fmt: skip
    if not longest:
        return None
    axes.set(xlabel="epoch", ylabel="mAP50-95, percent (Ultralytics' validation)")
    axes.set_xlim(1 - _room(longest), longest + _room(longest))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_number))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _room(epochs: int) -> float:
    """Return the margin before the first and after the last epoch; a single epoch is centred."""
    return max(0.5, 0.03 * epochs)


def draw_differences(rows: Sequence[Row], found: Sequence[Gain] = ()) -> bytes | None:
    """Draw a forest plot of the paired differences to the student alone, as PNG; None without any."""
    figure = differences_of(rows, found)
    return _png(figure) if figure is not None else None


def differences_of(rows: Sequence[Row], found: Sequence[Gain] = ()) -> Figure | None:
    """Build the figure for `draw_differences`; a gain known also at equal time has a second line."""
    compared = [(row.label, row.differences) for row in rows if row.differences]
    for gain in found:
        at_equal_time = {name: d for name in FIGURES if (d := gain.of(name)["time"]) is not None}
        if at_equal_time:
            place = next(place for place, (label, _) in enumerate(compared) if label == gain.row.label)
            compared.insert(place + 1, (f"{gain.row.label}, equal time", at_equal_time))
    if not compared:
        return None
    figure = Figure(figsize=(8, 0.6 + 0.36 * len(compared) * 2), layout="constrained")
    panels: Any = figure.subplots(1, len(FIGURES), sharey=True)
    for axes, name in zip(panels, FIGURES, strict=True):
        axes.axvline(0, color="0.4", linewidth=0.8)
        for place, (_label, differences) in enumerate(compared):
            difference = differences.get(name)
            if difference is None:
                continue
            if difference.low is not None and difference.high is not None:
                axes.plot([difference.low, difference.high], [place, place], "-", color="0.2", linewidth=1.5)
            axes.plot(
                difference.mean, place, "o", color="black", markersize=6,
                markerfacecolor="black" if difference.significant else "white",
            )  # fmt: skip
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_formatter(FuncFormatter(plain_number))
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(compared)), [label for label, _ in compared], fontsize=8)
    panels[0].set_ylim(len(compared) - 0.5, -0.5)
    figure.supxlabel("percentage points over the student alone; filled: the 95 % interval leaves out 0", fontsize=8)
    return figure


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
