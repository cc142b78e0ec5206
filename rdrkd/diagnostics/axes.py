"""Draw one panel of curves, distinguished by dashes and markers, not by colour alone."""

from collections.abc import Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from rdrkd.diagnostics.curves import Line, Panel

INK, FAINT = "#24292f", "#8c959f"
COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#57606a")
ACROSS = 4  # names per line of a legend
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "os^DvPX"
_MARKED = 10  # approximate number of markers on a curve
_LONGEST = 24  # characters of a label
_T = TypeVar("_T")


def draw(axes: Axes, panel: Panel, legend: float) -> None:
    """Draw a panel below its title and a legend of `legend` inches height."""
    axes.set_title(panel.title, loc="left", fontsize=8, weight="bold", color=INK, pad=72 * legend + 3, y=1.0)
    handles = {plain(line.label, _LONGEST): _plot(axes, line, panel.log) for line in reversed(panel.lines)}
    shown = [(handle, label) for label, handle in reversed(handles.items()) if label]
    if shown:
        axes.legend(*zip(*shown, strict=True), loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncols=ACROSS,
                    fontsize=6.2, frameon=False, handlelength=2.2, columnspacing=0.9, handletextpad=0.4, borderpad=0.2,
                    labelspacing=0.2, labelcolor=INK)  # fmt: skip
    for name, height in panel.guides.items():
        axes.axhline(height, color=FAINT, linewidth=0.8, zorder=1)
        _note(axes, name, (0.995, height), ("axes fraction", "data"), (0, 1.5))
    for begin, end in panel.off:
        axes.axvspan(begin - 0.5, end + 0.5, color=FAINT, alpha=0.2, linewidth=0, zorder=0)
        _note(axes, "off", (end + 0.5, 0.5), ("data", "axes fraction"), (-2, 0))
    if panel.mark is not None:
        axes.axvline(panel.mark, color=FAINT, linewidth=0.8, zorder=1)
        _note(axes, "best", (panel.mark, 0.02), ("data", "axes fraction"), (-2, 0))
    _scale(axes, panel)


def _note(
    axes: Axes, text: str, place: tuple[float, float], unit: tuple[str, str], offset: tuple[float, float]
) -> None:
    axes.annotate(
        text, place, xycoords=unit, xytext=offset, textcoords="offset points", fontsize=6, color=FAINT, ha="right"
    )


def _plot(axes: Axes, line: Line, log: bool) -> Any:
    points = [(epoch, value) for epoch, value in line.points if value > 0 or not log]
    step = max(1, len(points) // _MARKED)
    (handle,) = axes.plot(
        [epoch for epoch, _ in points], [value for _, value in points],
        color=_nth(COLOURS, line.look), marker=_nth(MARKERS, line.look), linestyle=_nth(DASHES, line.dash),
        linewidth=1.3, markersize=3.2, markevery=(line.look % step, step),
    )  # fmt: skip
    return handle


def _scale(axes: Axes, panel: Panel) -> None:
    points = [point for line in panel.lines for point in line.points]
    if panel.log and any(value > 0 for _, value in points):
        _scale_log(axes, [*panel.guides.values(), *(value for _, value in points if value > 0)])
    else:  # an offset or a power of ten above the axis would overlap the legend
        axes.yaxis.set_major_formatter(FuncFormatter(plain_number))
    if panel.limits is not None:
        low, high = panel.limits
        values = [value for _, value in points]
        room = 0.04 * (max(high, *values) - low)
        axes.set_ylim(min(low, *values) - room, max(high, *values) + room)
    first, last = panel.epochs
    room = max(0.5, 0.03 * (last - first))
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.tick_params(labelsize=6.5, color=FAINT, labelcolor=INK, length=2.5, width=0.6, which="both", pad=2)
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.5)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=FAINT, linewidth=0.6)


def _scale_log(axes: Axes, heights: Sequence[float]) -> None:
    """Scale logarithmically, with plain numbers at powers of ten; for a short range also at 2 and 5 times them."""
    axes.set_yscale("log")
    subs = (1, 2, 5) if max(heights) < 30 * min(heights) else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_number))
    axes.yaxis.set_minor_locator(NullLocator())


def plain_number(value: float, _position: int | None) -> str:
    """Write a tick as a complete number, without an offset or a power of ten shared by all ticks."""
    return f"{value:.10g}"


def _nth(of: Sequence[_T], number: int) -> _T:
    return of[number % len(of)]


def plain(text: str, longest: int) -> str:
    r"""Remove characters that the font lacks, and escape mathematics: names are untrusted.

    >>> print(plain("_l → $n", 24))
    l -> \$n
    """
    ascii_only = text.replace("→", "->").encode("ascii", "replace").decode()
    return ascii_only.lstrip("_")[:longest].replace("$", "\\$")
