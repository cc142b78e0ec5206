"""The gain of a method over the student alone: at equal epochs, at equal time, and at the best learning rate.

A control with `as_long_as` trains the student alone for as long as that method took; controls whose names begin with
`none@lr` use other learning rates. A study without such controls lacks these figures.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rdrkd.diagnostics.history import at
from rdrkd.study.members import BASELINE
from rdrkd.study.results import Results
from rdrkd.study.statistics import Difference, Row, difference, values_of
from rdrkd.study.timing import seconds_of

RATES = f"{BASELINE}@lr"  # prefix of the names of controls at other learning rates
HEADER = (
    "method", "pairs", "AP, equal epochs", "AP, equal time", "AP, best learning rate", "AP_S, equal epochs",
    "AP_S, equal time", "hours a run", "AP an hour",
)  # fmt: skip


class Gain(NamedTuple):
    """The gain of one method.

    Attributes:
        row: the method.
        time: the student alone, trained for as long; None: the study has no such control.
        rate: the student alone at its best learning rate in the study; None: there is only one rate.
        hours: median of a run; processor time if all members have it.
    """

    row: Row
    time: Row | None
    rate: Row | None
    hours: float

    def of(self, figure: str) -> dict[str, Difference | None]:
        """Return a figure's differences at equal `epochs`, at equal `time`, and from the best `rate`."""
        against = {"time": self.time, "rate": self.rate}
        own = values_of(self.row.members, figure)
        others = {k: difference(own, values_of(v.members, figure)) if v else None for k, v in against.items()}
        return {"epochs": self.row.differences.get(figure), **others}


def distils(row: Row) -> bool:
    """Return whether a row is a distillation: neither a control nor the baseline."""
    return row.method != BASELINE and row.members[0].get("terms", True) is not None


def gains(rows: Sequence[Row]) -> list[Gain]:
    """Return the gain of each distillation that has a baseline."""
    members = [member for row in rows for member in row.members]
    seconds = dict(zip(map(id, members), seconds_of(members), strict=True))
    return [
        Gain(
            row,
            next((r for r in _beside(row, rows) if r.members[0].get("as_long_as") == row.method), None),
            _best_rate(row, rows),
            statistics.median(seconds[id(member)] for member in row.members) / 3600,
        )
        for row in rows
        if distils(row) and row.differences
    ]


def _beside(row: Row, rows: Sequence[Row]) -> list[Row]:
    return [other for other in rows if other.setting == row.setting]


def _best_rate(row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the student alone at the learning rate with its best mean AP, a choice that favours the control."""
    rates = [r for r in _beside(row, rows) if r.method == BASELINE or r.method.startswith(RATES)]
    tried = [r for r in rates if "AP" in r.summaries]
    return max(tried, key=lambda r: r.summaries["AP"].mean) if len(tried) > 1 else None


def table(found: Sequence[Gain], cell: Any) -> dict[str, Any] | None:
    """Return the table of gains; None without any.

    Args:
        found: the gains.
        cell: formats a difference.
    """
    if not found:
        return None
    return {
        "title": "Gain over the student alone, percent points, paired by seed: mean [95 % interval]",
        "header": list(HEADER),
        "rows": [_cells(gain, cell) for gain in found],
    }


def _cells(gain: Gain, cell: Any) -> list[str]:
    ap, small = gain.of("AP"), gain.of("AP_S")
    rate = cell(ap["rate"]) if gain.rate is None else f"{cell(ap['rate'])} ({gain.rate.label})"
    each = f"{ap['epochs'].mean / gain.hours:+.2f}" if ap["epochs"] and gain.hours else "-"
    return [
        gain.row.label, str(max(d.seeds for d in gain.row.differences.values())), cell(ap["epochs"]), cell(ap["time"]),
        rate, cell(small["epochs"]), cell(small["time"]), f"{gain.hours:.3g}", each,
    ]  # fmt: skip


def images(results: Results) -> list[str]:
    """Return a notice on whether the teacher has seen other images than the student."""
    study: Mapping[str, Any] = results.get("study", {})
    if "teacher" not in study:
        return []
    trained = at(study, "teacher", "train")
    if trained is None:
        return ["The teacher's weights were given: this study does not know which images it has seen."]
    shares = [float(settings.get("fraction", 1.0)) for settings in (trained, study.get("train", {}))]
    if shares[0] == shares[1]:
        begun = ["architecture" not in (at(study, *where) or {}) for where in (("teacher", "model"), ("student",))]
        pretrained = "; but the teacher began with trained weights, the student with random ones" * (
            begun == [True, False]
        )
        return [f"Teacher and student were trained on the same images of this dataset{pretrained}."]
    teacher, student = (f"{100 * share:g} %" for share in shares)
    return [
        f"The teacher was trained on {teacher} of the training images, the student on {student}: a gain is partly that "
        "of the images that only the teacher has seen."
    ]
