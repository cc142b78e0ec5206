"""Draw panels of curves, as SVG for a page and as PNG.

Uses matplotlib's objects, never `pyplot`, which would keep figures and settings in the training's process.
"""

import io
import re
from collections.abc import Sequence

from matplotlib.figure import Figure

from rdrkd.diagnostics.axes import ACROSS, COLOURS, FAINT, INK, draw, plain
from rdrkd.diagnostics.curves import Panel

DARK = ("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#f778ba", "#d29922", "#8b949e")  # COLOURS on a dark page
_COLUMNS = 3
_WIDTH = 10.2  # inches: total width
_HEIGHT, _BELOW, _LEGEND = 1.42, 0.26, 0.16  # inches: height of the axes, of their labels below, of a legend line


def png(panels: Sequence[Panel], heading: str) -> bytes:
    """Draw panels on white under a heading."""
    target = io.BytesIO()
    _figure(panels, heading).savefig(target, format="png", dpi=120, facecolor="white")
    return target.getvalue()


def svg(panels: Sequence[Panel]) -> str:
    """Draw panels as an SVG element for a page, whose CSS variables `--ink`, `--faint`, `--c0` ... colour it."""
    target = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # else it refers to vocabularies by URL
    _figure(panels, "").savefig(target, format="svg", transparent=True, metadata=nothing)
    tag, _, content = target.getvalue().partition("<svg")[2].partition(">")
    for name, colour in {"ink": INK, "faint": FAINT, **{f"c{i}": c for i, c in enumerate(COLOURS)}}.items():
        content = content.replace(colour, f"var(--{name})")
    tag = re.sub(r' (width|height)="[^"]*"', "", tag)  # the page determines its size
    return f"<svg{tag}>{content}"


def _figure(panels: Sequence[Panel], heading: str) -> Figure:
    rows = max(1, -(-len(panels) // _COLUMNS))
    named = max((sum(bool(line.label) for line in panel.lines) for panel in panels), default=0)
    legend = _LEGEND * max(1, -(-named // ACROSS))
    above = 0.2 + legend  # space for each panel's title and legend
    extra = 0.3 if heading else 0.0
    height = rows * (_HEIGHT + above + _BELOW) + extra
    figure = Figure(figsize=(_WIDTH, height))
    if heading:
        figure.text(0.012, 1 - 0.17 / height, plain(heading, 160), fontsize=9, weight="bold", color=INK, va="center")
    if not panels:
        figure.text(0.5, 0.4, "there is nothing to draw", fontsize=9, color=FAINT, ha="center", va="center")
    figure.subplots_adjust(
        left=0.045, right=0.99, top=1 - (above + extra) / height, bottom=_BELOW / height,
        wspace=0.16, hspace=(above + _BELOW) / _HEIGHT,
    )  # fmt: skip
    for number, panel in enumerate(panels, start=1):
        draw(figure.add_subplot(rows, _COLUMNS, number), panel, legend)
    return figure
