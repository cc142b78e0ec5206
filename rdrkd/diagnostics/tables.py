"""The tables of a report: a run's figures, and the probes' figures by term and part."""

from typing import NamedTuple

from rdrkd.diagnostics import active_epochs
from rdrkd.diagnostics.history import Row, Run, at, finite
from rdrkd.diagnostics.words import number, share, span
from rdrkd.figures import FIGURES, OWN, PROTOCOLS, percent

_BESIDE = 12  # classes per table; further tables stand beside it


class Table(NamedTuple):
    """A heading and rows of text; the first column names the row."""

    columns: list[str]
    rows: list[list[str]]


def figures(run: Run) -> list[Table]:
    """Return the result by both protocols and by class, percent; empty without a result."""
    metrics, classes = at(run.result, "metrics"), at(run.result, "per_class")
    tables = []
    if isinstance(metrics, dict):
        rows = [[label, *_percents(metrics, key, FIGURES)] for key, label in PROTOCOLS.items()]
        tables.append(Table(["", *FIGURES], rows))
        tables.append(Table(["", *OWN], [["Ultralytics' own", *_percents(metrics, "ultralytics", OWN)]]))
    if isinstance(classes, dict) and classes:
        rows = [[str(name), *_percents(classes, name, ("AP", "AP50"))] for name in classes]
        tables += [
            Table(["class, maxDets 100", "AP", "AP50"], rows[i : i + _BESIDE]) for i in range(0, len(rows), _BESIDE)
        ]
    return tables


def _percents(found: object, group: str, names: tuple[str, ...]) -> list[str]:
    return [percent(finite(at(found, group, name))) for name in names]


def parts(run: Run) -> Table:
    """Return the probes' figures of each term and its parts while it was on, first and last.

    Empty columns are left out.
    """
    columns = ["term, part", "value", "gradient norm", "× the task's", "hidden cells", "hidden channels",
               "background cells", "dead channels: teacher, student"]  # fmt: skip
    rows = []
    for term in run.terms:
        value = span([row.losses[term] for row in active_epochs.on(run, term) if term in row.losses], number)
        rows.append([term, value, *_gradients(active_epochs.probed(run, term), term), "", "", "", ""])
        rows += [_part(run, term, part) for part in run.parts(term)]
    filled = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    return Table([columns[i] for i in filled], [[row[i] for i in filled] for row in rows])


def _part(run: Run, term: str, part: str) -> list[str]:
    key, level, rows = f"{term}/{part}", _level(run, term, part), active_epochs.probed(run, term)
    value = span(_found(rows, key), number)
    shares = [span(_found(rows, f"{key}/{what}"), share) for what in ("hidden_cells", "hidden_channels", "background")]
    dead = [span(_found(rows, f"{role}/{level}/dead_channels"), share) for role in ("teacher", "student")]
    return [part, value, *_gradients(rows, key), *shares, ", ".join(filter(None, dead))]


def _gradients(rows: list[Row], key: str) -> list[str]:
    """Return the gradient's norm, and its ratio to the task's."""
    return [span(_found(rows, f"{key}/{figure}"), number) for figure in ("gradient_norm", "ratio")]


def _found(rows: list[Row], key: str) -> list[float]:
    return [row.diagnostics[key] for row in rows if key in row.diagnostics]


def _level(run: Run, term: str, part: str) -> str:
    """Return the probe's name for the maps of a term's level."""
    losses = run.setting("distillation", "losses")
    own = [at(each, "layers") for each in losses if at(each, "name") == term] if isinstance(losses, list) else []
    return part if own in ([], [None], ["fpn"]) else f"{own[0]}-{part}"


def batches(run: Run) -> str:
    """Return how many objects and responsible anchors the probed batches had."""
    objects, foreground = _found(run.rows, "batch/objects"), _found(run.rows, "batch/foreground")
    if not objects or not foreground:
        return ""
    return (
        f"Foreground: {span(foreground, share)} of the anchors of the probed batches were responsible for one of "
        f"their {span(objects, number)} objects."
    )
