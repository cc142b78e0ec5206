"""The report of a study: Markdown and one HTML page, with curves, differences and a panel of images."""

import base64
import statistics
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from rdrkd.figures import counted
from rdrkd.files import write_atomically
from rdrkd.run_warnings import NOTHING
from rdrkd.spec.deciding import Decide
from rdrkd.study.decision import judge
from rdrkd.study.export import as_csv
from rdrkd.study.figures import draw_curves, draw_differences
from rdrkd.study.gains import Gain, gains, images
from rdrkd.study.gains import table as gain_table
from rdrkd.study.members import BASELINE
from rdrkd.study.provenance import making
from rdrkd.study.ranking import Place, rankings
from rdrkd.study.results import FIGURES, Results
from rdrkd.study.statistics import Difference, Row, Summary, rows_of, summary


def write_report(results: Results, out: Path, panel: str | None = None) -> list[Path]:
    """Write `report.md`, `report.html`, `members.csv`, `curves.png` and `differences.png` into a folder.

    Args:
        results: a study's results.
        out: the folder; created if missing.
        panel: file name of the panel of images in that folder, if any.

    Returns:
        The written files.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = {"failures": [], "teachers": {}, "commands": [], **results}
    rows = rows_of(results["members"])
    found = gains(rows)
    write_atomically(out / "members.csv", as_csv(results["members"]).encode())
    pictures = {"curves.png": draw_curves(rows), "differences.png": draw_differences(rows, found)}
    for name, content in pictures.items():
        if content is not None:
            write_atomically(out / name, content)
    shown = [name for name, content in pictures.items() if content is not None] + ([panel] if panel else [])
    values = {
        "results": results, "tables": tables(rows), "findings": findings(rows), "pictures": shown,
        "first": first(results, found), "lead": lead(rows),
        "notes": [*results.get("notes", []), *mixtures(rows)], "made": making(results, rows),
    }  # fmt: skip
    written = [out / name for name in ("members.csv", *shown)]
    for name in ("report.md", "report.html"):
        write_atomically(out / name, _environment(out).get_template(f"{name}.jinja").render(values).encode())
        written.append(out / name)
    return written


def first(results: Results, found: Sequence[Gain]) -> list[str]:
    """Return the report's first lines: the notice on the teacher's images, and the verdict if there is a rule."""
    rule = results.get("study", {}).get("decide")
    return [
        *_at_zero(results["members"]),
        *images(results),
        *(judge(Decide.model_validate(rule), found) if rule is not None else []),
    ]


def _at_zero(members: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a warning if no student of the study has learnt anything, so that comparisons are meaningless."""
    found = [member["metrics"]["AP"] for member in members]
    if not found or any(ap is None or ap >= NOTHING for ap in found):
        return []
    return [
        f"All {len(found)} students have an AP below {NOTHING:g} %: nothing was learnt, and differences between the "
        "methods mean nothing. Train for more epochs, at a larger imgsz or another lr0, and look at the teacher's AP."
    ]


def lead(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return the report's first table: gains at equal epochs and at equal time; None without a pair."""
    return gain_table(gains(rows), _interval)


def tables(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the report's tables: title, header, rows of cells."""
    compared = [row for row in rows if row.differences]
    return [
        {
            "title": "COCO protocol, maxDets 100, percent: mean (standard deviation over seeds)",
            "header": ["method", "seeds", *FIGURES],
            "rows": [
                [row.label, str(len(row.members)), *(_mean(row.summaries.get(name)) for name in FIGURES)]
                for row in rows
            ],
        },
        {
            "title": "Difference to the student alone, paired by seed, percent points: mean [95 % interval]",
            "header": ["method", "pairs", *FIGURES],
            "rows": [
                [
                    row.label,
                    str(max(difference.seeds for difference in row.differences.values())),
                    *(_interval(row.differences.get(name)) for name in FIGURES),
                ]
                for row in compared
            ],
        },
        *(_order(places) for places in rankings(rows)),
        *_by_class(rows),
        {
            "title": f"Cost of a run ({_at_a_time(rows)})",
            "header": ["method", "s an epoch", "x alone", "peak memory, GB", "student", "M params", "GFLOPs"],
            "rows": [_cost(row, rows) for row in rows],
        },
    ]


def _order(places: Sequence[Place]) -> dict[str, Any]:
    return {
        "title": "Order by AP; paired t tests over the seeds, 5 % for all pairs together (Holm)",
        "header": ["method", "place", "AP", "not to be told from, of those below"],
        "rows": [
            [place.row.label, str(number), _mean(place.summary), ", ".join(place.tied) or "-"]
            for number, place in enumerate(places, 1)
        ],
    }


def _by_class(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the table of AP by class; empty if no member has it."""
    names = list(dict.fromkeys(name for row in rows for member in row.members for name in member.get("per_class", {})))
    if not names:
        return []

    def cell(row: Row, name: str) -> str:
        found = [member.get("per_class", {}).get(name, {}).get("AP") for member in row.members]
        return _mean(summary([value for value in found if value is not None]))

    return [
        {
            "title": "AP by class: mean (standard deviation over seeds)",
            "header": ["method", *names],
            "rows": [[row.label, *(cell(row, name) for name in names)] for row in rows],
        }
    ]


def findings(rows: Sequence[Row]) -> list[str]:
    """Return a sentence with the study's finding for each method."""
    sentences, orders = [], rankings(rows)
    for row in rows:
        difference = row.differences.get("AP")
        if difference is None:
            continue
        numbers = f"{row.label}: AP {_interval(difference)} over {counted(difference.seeds, 'paired seed')}"
        if difference.constant:
            sentences.append(
                f"{numbers}: the same in every pair, so their spread tells nothing of chance; more seeds would."
            )
        elif difference.low is None or difference.high is None:
            sentences.append(f"{numbers}; one seed tells nothing of chance.")
        elif difference.significant:
            word = "better" if difference.mean > 0 else "worse"
            sentences.append(
                f"{numbers}: {word} than the student alone, beyond what the seeds explain{_alone(row, orders)}."
            )
        else:
            half = difference.high - difference.mean
            sentences.append(
                f"{numbers}: not to be told from the student alone; only a difference of about {half:.1f} points "
                "would show with these seeds."
            )
    return sentences


def _alone(row: Row, orders: Sequence[Sequence[Place]]) -> str:
    """Return a caveat if a difference is significant by itself but not after correction for all pairs of the study."""
    for places in orders:
        own = next((place for place in places if place.row is row), None)
        baseline = next((place for place in places if place.row.method == BASELINE), None)
        if own and baseline and (baseline.row.label in own.tied or row.label in baseline.tied):
            return "; that is of this comparison by itself, and not of all pairs of the study together (see the order)"
    return ""


def mixtures(rows: Sequence[Row]) -> list[str]:
    """Return notes on rows whose members were trained differently: their spread is not due to the seeds alone."""
    found = []
    for row in rows:
        for what, values in (
            ("teachers", [member.get("teacher_sha256") for member in row.members]),
            ("devices", [member.get("versions", {}).get("device") for member in row.members]),
            ("versions", [_software(member) for member in row.members]),
        ):
            if (count := len(set(values))) > 1:
                found.append(f"{row.label}: its members were made with {count} different {what}")
    return found


def _software(member: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in member.get("versions", {}).items() if k != "device"))


def _at_a_time(rows: Sequence[Row]) -> str:
    """Describe how comparable seconds are: members that train at the same time slow each other down."""
    jobs = {member.get("jobs") for row in rows for member in row.members}
    if jobs == {1}:
        return "members trained one at a time"
    at_a_time = " or ".join(str(number or "an unknown number") for number in sorted(jobs, key=lambda n: n or 0))
    return f"rough: {at_a_time} at a time, which slow each other down; `rdrkd bench` measures side by side"


def _mean(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    spread = "" if summary.deviation is None else f" ({summary.deviation:.2f})"
    return f"{summary.mean:.2f}{spread}"


def _interval(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    if difference.low is None or difference.high is None or difference.constant:
        return f"{difference.mean:+.2f}"
    return f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


def _cost(row: Row, rows: Sequence[Row]) -> list[str]:
    def seconds(of: Row) -> float:
        return statistics.mean([float(m["seconds"]) / float(m["epochs"]) for m in of.members])

    alone = next((other for other in rows if other.method == BASELINE and other.setting == row.setting), None)
    student = row.members[0]["student"]
    memory = max(member["memory_bytes"] for member in row.members)
    return [
        row.label, f"{seconds(row):.1f}", f"{seconds(row) / seconds(alone):.2f}" if alone else "-",
        f"{memory / 1e9:.2f}", str(student["architecture"]), f"{student['parameters'] / 1e6:.2f}",
        f"{student['gflops']:.1f}",
    ]  # fmt: skip


def _environment(out: Path) -> jinja2.Environment:
    folder = resources.files("rdrkd.study") / "templates"
    loader = jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=loader, autoescape=jinja2.select_autoescape(["html.jinja"]), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["inline"] = lambda name: _inline(out / name)
    return environment


def _inline(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
