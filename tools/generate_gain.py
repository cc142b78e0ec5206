"""Generate the tables and figures of docs/when-does-it-help.md from the results under docs/results.

Usage: `python tools/generate_gain.py [TARGET]`. Text outside the marked blocks is kept; the figures go to `figures`
next to the page. Each figure's description holds the plotted values as JSON.
"""

import io
import json
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from rdrkd.study import results
from rdrkd.study.statistics import Difference, Row, difference, rows_of, values_of

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "when-does-it-help.md"
STUDIES = {  # file -> name on the page: the studies with every control
    "search-same-images": "same images",
    "search-more-images": "more images",
}
BASE = "search-more-images"
VARIED = {  # what alone differs from BASE -> files by its factor; with other images, the number of steps stays
    "the student's images": {0.5: "search-half-the-images", 1.0: BASE, 2.0: "search-twice-the-images"},
    "the student's epochs": {0.5: "search-half-the-epochs", 1.0: BASE, 2.0: "search-twice-the-epochs"},
}
# Trained on machines that were slower or busier: their times cannot be compared.
ELSEWHERE = (
    "none@imgsz", "none@lr-half", "none@lr-quarter", "rdr-kd-bottleneck", "rdr-kd-half", "rdr-kd-lad", "rdr-kd-fade",
    "rdr-kd+ld",
)  # fmt: skip
METHODS = {"rdr-kd": "o", "pkd+dkd": "s", "crosskd": "^", "ultralytics": "D"}
SIZES = ("AP", "AP_S", "AP_M", "AP_L")
GAIN = "gain in AP, percent points"
IMAGES = 1906  # training images of HIT-UAV as split for these studies
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Point = dict[str, Any]


class Measured:
    """One study: its rows, its teachers and the figures that the page quotes."""

    def __init__(self, file: str, name: str) -> None:
        self.file, self.name = file, name
        self.results: dict[str, Any] = dict(results.read(DOCS / "results" / f"{file}.json"))
        # For a method whose settings have changed, use the row with most seeds; `each_row` also has the others.
        self.each_row = sorted(rows_of(self.results["members"]), key=lambda row: -len(row.members))
        self.rows = {row.method: row for row in reversed(self.each_row)}
        self.alone = self.rows["none"]
        self.spec: dict[str, Any] = self.results["study"]
        self.epochs: int = self.spec["train"]["epochs"]
        self.teacher_ap = statistics.mean(t["metrics"]["AP"] for t in self.results["teachers"].values())
        self.lead = self.teacher_ap - self.alone.summaries["AP"].mean

    def images(self, settings: dict[str, Any]) -> int:
        """Return the number of training images of a share."""
        return round(IMAGES * settings.get("fraction", 1.0))

    @property
    def methods(self) -> list[Row]:
        """Return the rows of the four leading methods that this study has."""
        return [self.rows[name] for name in METHODS if name in self.rows]


def shown(found: Difference | None) -> str:
    """Format a difference; bold if its interval excludes zero."""
    if found is None:
        return "-"
    if found.low is None:
        return f"{found.mean:+.2f} (one pair)"
    text = f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    return f"**{text}**" if found.significant else text


def settings_table(studies: Sequence[Measured]) -> list[list[str]]:
    """List the training data of each study's students and teacher."""
    rows = [["study", "student's images", "teacher's images", "start weights: teacher, student", "epochs",
             "AP alone", "teacher's AP", "lead"]]  # fmt: skip
    for s in studies:
        begun = [
            "random" if "architecture" in model else "COCO" for model in (s.spec["teacher"]["model"], s.spec["student"])
        ]
        rows.append(
            [f"[{s.name}](results/{s.file}.json)", str(s.images(s.spec["train"])),
             str(s.images(s.spec["teacher"]["train"])), ", ".join(begun), str(s.epochs),
             f"{s.alone.summaries['AP'].mean:.2f}", f"{s.teacher_ap:.2f}", f"{s.lead:.1f}"]
        )  # fmt: skip
    return rows


def gains_table(studies: Sequence[Measured]) -> list[list[str]]:
    """List each method's gain in AP and AP_S."""
    rows = [["study", "method", "pairs", "AP", "AP_S"]]
    for s in studies:
        for row in s.methods:
            found = row.differences
            rows.append([s.name, f"`{row.method}`", str(found["AP"].seeds), shown(found["AP"]), shown(found["AP_S"])])
    return rows


def sizes_table(studies: Sequence[Measured]) -> list[list[str]]:
    """List the gain of `rdr-kd` by object size."""
    rows = [["study", *SIZES]]
    rows += [[s.name, *(shown(s.rows["rdr-kd"].differences.get(size)) for size in SIZES)] for s in studies]
    return rows


def cost_table(studies: Sequence[Measured]) -> list[list[str]]:
    """List the cost of a training, with a teacher of the student's size."""
    rows = [["method", "pairs", "processor time, x student alone", "AP gained"]]
    study = same_images(studies)
    own = seconds(study.alone)
    for row in study.methods:
        pairs = [value / own[seed] for seed, value in seconds(row).items() if seed in own]
        ratio = f"{statistics.mean(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
        rows.append([f"`{row.method}`", str(len(pairs)), ratio, shown(row.differences["AP"])])
    return rows


def same_images(studies: Sequence[Measured]) -> Measured:
    """Return the study that has the controls and the candidates."""
    return next(s for s in studies if s.file == "search-same-images")


def candidates_table(studies: Sequence[Measured]) -> list[list[str]]:
    """Compare all candidates on the same images with the student alone and with `rdr-kd`, best first."""
    rows = [["method", "pairs", "AP", "AP_S", "AP gained over alone", "over `rdr-kd`", "time, x alone"]]
    own = same_images(studies)
    lead = own.rows["rdr-kd"]
    for row in sorted(own.each_row, key=lambda row: -row.summaries["AP"].mean):
        over_lead = None if row is lead else difference(values_of(row.members, "AP"), values_of(lead.members, "AP"))
        rows.append(
            [named(row, own), str(len(row.members)), f"{row.summaries['AP'].mean:.2f}",
             f"{row.summaries['AP_S'].mean:.2f}", shown(row.differences.get("AP")), shown(over_lead),
             "-" if row.method in ELSEWHERE else f"{cost(row, own.alone):.2f}"]
        )  # fmt: skip
    return rows


def named(row: Row, of: Measured) -> str:
    """Return a row's name: its method, marked if it is an earlier version."""
    return f"`{row.method}`" + ("" if of.rows[row.method] is row else ", earlier runs")


def controls_table(studies: Sequence[Measured]) -> list[list[str]]:
    """Compare the methods with each variant of the student alone: longer, at other rates, with a larger input."""
    over = (f"AP of `{name}` over it" for name in METHODS)
    rows = [["study", "the student alone", "pairs", "AP", "time, x alone", *over]]
    for s in (study for study in studies if "none@time" in study.rows):
        for row in s.each_row:
            if row.method.startswith("none"):
                alone = values_of(row.members, "AP")
                gains = [shown(difference(values_of(s.rows[name].members, "AP"), alone)) for name in METHODS]
                rows.append(
                    [s.name, named(row, s), str(len(alone)), f"{row.summaries['AP'].mean:.2f}",
                     "-" if row.method in ELSEWHERE else f"{cost(row, s.alone):.2f}", *gains]
                )  # fmt: skip
    return rows


def cost(row: Row, alone: Row) -> float:
    """Return the mean processor time of a row's trainings relative to that of the student alone."""
    return statistics.mean(seconds(row).values()) / statistics.mean(seconds(alone).values())


def seconds(row: Row) -> dict[int, float]:
    """Return the processor seconds of a row's members by seed, if recorded."""
    return {m["seed"]: m["processor_seconds"] for m in row.members if m.get("processor_seconds")}


def varied_table(_: Sequence[Measured]) -> list[list[str]]:
    """List the gain of `rdr-kd` where only the student's images or epochs differ from the base study."""
    rows = [["what differs", "student's images", "epochs", "pairs", "AP alone", "teacher's lead", "AP", "AP_S",
             "AP over alone for as long", "AP over alone at its best rate"]]  # fmt: skip
    for what, files in VARIED.items():
        for factor, file in files.items():
            s = Measured(file, what)
            gains = s.rows["rdr-kd"].differences
            rows.append(
                [f"{what} x {factor:g}", str(s.images(s.spec["train"])), str(s.epochs), str(gains["AP"].seeds),
                 f"{s.alone.summaries['AP'].mean:.2f}", f"{s.lead:.1f}", shown(gains["AP"]), shown(gains["AP_S"]),
                 over(s, "none@time"), over(s, "none", "none@lr")]
            )  # fmt: skip
    return rows


def over(study: Measured, *kinds: str) -> str:
    """Format the lead of `rdr-kd` over the best row of these kinds (a name up to any `-`), if there is a control."""
    rows = [row for row in study.rows.values() if row.method.partition("-")[0] in kinds]
    if all(row is study.alone for row in rows):
        return "-"
    best = max(rows, key=lambda row: row.summaries["AP"].mean)
    return shown(difference(values_of(study.rows["rdr-kd"].members, "AP"), values_of(best.members, "AP")))


TABLES: dict[str, Callable[[Sequence[Measured]], list[list[str]]]] = {
    "settings": settings_table,
    "gains": gains_table,
    "sizes": sizes_table,
    "cost": cost_table,
    "candidates": candidates_table,
    "controls": controls_table,
    "varied": varied_table,
}


def points(studies: Sequence[Measured], x: Callable[[Measured], float]) -> list[Point]:
    """Return one point for each method of each study: its mean gain, and that of each pair."""
    found = []
    for s in studies:
        alone = values_of(s.alone.members, "AP")
        for row in s.methods:
            own = values_of(row.members, "AP")
            pairs = [round(own[seed] - alone[seed], 2) for seed in sorted(own) if seed in alone]
            found.append({"study": s.name, "method": row.method, "x": round(x(s), 2), "pairs": pairs})
    return found


def others() -> list[Measured]:
    """Return the studies that differ from the base study in one quantity alone."""
    return [Measured(file, file) for files in VARIED.values() for file in files.values() if file != BASE]


def varied() -> list[Point]:
    """Return the gain of each pair of `rdr-kd` by what differs from the base study, and its factor."""
    return [
        point | {"x": factor}
        for what, files in VARIED.items()
        for factor, file in files.items()
        for point in points([Measured(file, what)], lambda s: s.lead)
        if point["method"] == "rdr-kd"
    ]


def progress(studies: Sequence[Measured]) -> list[Point]:
    """Return the gain of `rdr-kd` at each epoch, by Ultralytics' validation during training, averaged over pairs."""
    found = []
    for s in studies:
        alone, own = ({m["seed"]: m["curve"] for m in row.members} for row in (s.alone, s.rows["rdr-kd"]))
        for epoch in range(s.epochs):
            at = [
                {seed: curve[epoch]["mAP50_95"] for seed, curve in curves.items() if len(curve) > epoch}
                for curves in (own, alone)
            ]
            gain = difference(*at)
            if gain is not None:
                share = round((epoch + 1) / s.epochs, 3)
                found.append({"study": s.name, "method": "rdr-kd", "x": share, "pairs": [round(gain.mean, 2)]})
    return found


def trade_off(studies: Sequence[Measured]) -> list[Point]:
    """Return one point for each method on the same images, and for longer plain training: gain at cost."""
    own = same_images(studies)
    rows = [row for row in own.rows.values() if "AP" in row.differences and "@lr" not in row.method]
    rows = [row for row in rows if row.method not in ELSEWHERE]
    return [
        {"study": own.name, "method": row.method, "x": round(cost(row, own.alone), 2),
         "pairs": [round(row.differences["AP"].mean, 2)], "seeds": row.differences["AP"].seeds}
        for row in rows
    ]  # fmt: skip


def draw_trade_off(found: Sequence[Point]) -> str:
    """Draw each method's mean gain against its cost, labelled; hollow if it has fewer than three pairs."""
    figure, axes = _axes("processor time of the training, x student alone", GAIN)
    axes.margins(x=0.25)  # room for the names
    for point in found:
        few = point["seeds"] < 3
        axes.plot(point["x"], point["pairs"][0], "o", color="0.15", fillstyle="none" if few else "full")
        axes.annotate(
            point["method"], (point["x"], point["pairs"][0]), xytext=(6, 3), textcoords="offset points", fontsize=7
        )
    return _svg(figure, found)


def draw_varied(found: Sequence[Point]) -> str:
    """Draw the gain against the factor of each quantity that was varied: lines join the means."""
    figure, axes = _axes("images or epochs, times those of the study more images", GAIN)
    axes.set_xscale("log", base=2)
    for what, marker, aside in zip(VARIED, ("o-", "s--"), (0.985, 1.015), strict=True):
        own = [p for p in found if p["study"] == what]
        (line,) = axes.plot(
            [p["x"] * aside for p in own], [statistics.mean(p["pairs"]) for p in own], marker, label=what
        )
        for point in own:
            axes.plot([point["x"] * aside] * len(point["pairs"]), point["pairs"], marker[0], markersize=3,
                      color=line.get_color(), alpha=0.5)  # fmt: skip
    axes.set_xticks([0.5, 1, 2], ["0.5", "1", "2"])
    axes.legend(fontsize=8, frameon=False)
    return _svg(figure, found)


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    matplotlib.rcParams.update({"svg.hashsalt": "rdrkd", "svg.fonttype": "none"})
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Figure, found: Sequence[Point]) -> str:
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Description": json.dumps(found)})
    return re.sub(r"[ \t]+$", "", buffer.getvalue(), flags=re.MULTILINE)


def draw(found: Sequence[Point], xlabel: str, ylabel: str, lines: bool = False) -> str:
    """Draw points as SVG: large marks are means, small ones single pairs."""
    figure, axes = _axes(xlabel, ylabel)
    if lines:
        for name, style in zip(STUDIES.values(), ("-", "--"), strict=True):
            own = [p for p in found if p["study"] == name]
            axes.plot([p["x"] for p in own], [p["pairs"][0] for p in own], style, color="0.15", label=name)
    else:
        for place, (method, marker) in enumerate(METHODS.items()):
            own = [p for p in found if p["method"] == method]
            width = max(p["x"] for p in found) / 100
            at = [p["x"] + width * (place - 1.5) for p in own]
            means = [statistics.mean(p["pairs"]) for p in own]
            (mark,) = axes.plot(at, means, marker, markersize=8, label=method)
            for x, point in zip(at, own, strict=True):
                axes.plot([x] * len(point["pairs"]), point["pairs"], marker, markersize=3, color=mark.get_color(),
                          alpha=0.5)  # fmt: skip
    axes.legend(fontsize=8, frameon=False)
    return _svg(figure, found)


def figures(studies: Sequence[Measured]) -> dict[str, str]:
    """Return each figure's SVG by its name."""
    return {
        "gain-by-lead": draw(
            points([*studies, *others()], lambda s: s.lead), "teacher's AP less the student's alone", GAIN
        ),
        "gain-by-amount": draw_varied(varied()),
        "gain-by-cost": draw_trade_off(trade_off(studies)),
        "gain-by-length": draw(
            progress(studies), "share of the training that is done", "rdr-kd's gain in mAP50-95", lines=True
        ),
    }


def page(text: str, studies: Sequence[Measured]) -> str:
    """Return the page with its blocks regenerated."""

    def block(match: re.Match[str]) -> str:
        header, *rows = TABLES[match[2]](studies)
        lines = [header, ["---"] * len(header), *rows]
        return match[1] + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n" + match[3]

    return _BLOCK.sub(block, text)


def main() -> None:
    """Write the page and its figures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    studies = [Measured(file, name) for file, name in STUDIES.items()]
    (target.parent / "figures").mkdir(parents=True, exist_ok=True)
    target.write_text(page(PAGE.read_text(), studies))
    for name, svg in figures(studies).items():
        (target.parent / "figures" / f"{name}.svg").write_text(svg)


if __name__ == "__main__":
    main()
