"""The report of a run: one page on the effect of each term, from the run folder alone."""

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from rdrkd.diagnostics import active_epochs, drawing, tables
from rdrkd.diagnostics.axes import COLOURS
from rdrkd.diagnostics.curves import panels
from rdrkd.diagnostics.folder import read
from rdrkd.diagnostics.heading import heading, without_curves
from rdrkd.diagnostics.verdict import CALLED, verdicts, weighting
from rdrkd.events import Warn
from rdrkd.files import write_atomically
from rdrkd.paths import without_paths
from rdrkd.reporter import Reporter
from rdrkd.run_folder.names import CONFUSION, CURVE, PAGE, PICTURE, PREDICTIONS, RESOLVED

_MARKS = {"fair": "good", "weak": "bad", "strong": "bad", "off": "none", "unknown": "none"}
_PICTURES = {
    PREDICTIONS: "Some validation images, each network from the confidence with its best F1",
    CURVE: "Precision and recall of the student, by Ultralytics",
    CONFUSION: "Confusion matrix of the student, by Ultralytics",
}
_SECONDS = 30.0  # between reports of a training: drawing one takes about a second


def write_report(run_dir: Path, result: Mapping[str, Any] | None = None) -> list[str]:
    """Write `report.html` and `report.png` into a run folder, finished or not; return their names.

    Args:
        run_dir: the run folder; nothing else is read.
        result: the result of a run that has not written it yet; by default from `result.json`.

    Raises:
        FolderError: it is not a run folder.
        DiskFullError: no space; an earlier report is unchanged.
    """
    run = read(run_dir, result)
    drawn = panels(run)
    title = heading(run)
    picture = drawing.png(drawn, f"{title.name}: {title.subject}, {title.state}")
    page = _template().render(
        title=title,
        verdicts=verdicts(run),
        called=CALLED,
        marks=_MARKS,
        colours={"light": COLOURS, "dark": drawing.DARK},
        weighting=weighting(run),
        failure=run.failure,
        warnings=run.warnings,
        split=run.setting("evaluation", "split") or "val",
        figures=tables.figures(run),
        curves=drawing.svg(drawn) if drawn else "",
        without_curves=without_curves(run),
        terms=run.terms,
        parts=tables.parts(run),
        batches=tables.batches(run),
        left_out=active_epochs.note(run),
        pictures=_pictures(run_dir) if result is not None or run.result is not None else [],
        spec=without_paths(json.dumps(run.spec, indent=2, ensure_ascii=False)),
    )
    write_atomically(run_dir / PAGE, page.encode(errors="replace"))  # JSON can hold lone surrogates
    write_atomically(run_dir / PICTURE, picture)
    return [PAGE, PICTURE]


def _pictures(run_dir: Path) -> list[tuple[str, str]]:
    """Return the run's pictures as data URLs, each with its caption."""
    found = []
    for name, caption in _PICTURES.items():
        if (file := run_dir / name).is_file():
            kind = "jpeg" if file.suffix == ".jpg" else "png"
            found.append((caption, f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"))
    return found


class Reports:
    """Refreshes the report of a training periodically; its errors never stop the training."""

    def __init__(self, run_dir: Path, reporter: Reporter) -> None:
        self._run_dir, self._reporter = run_dir, reporter
        self._drawn = time.monotonic()  # a shorter training draws its only report at the end
        self._failure_reported = False

    def refresh(self) -> None:
        """Write the report, unless the last one is too recent."""
        if time.monotonic() - self._drawn >= _SECONDS:
            self.write()

    def write(self, result: Mapping[str, Any] | None = None) -> None:
        """Write the report (`write_report`); report a failure once. A training outside a run has none."""
        try:
            if (self._run_dir / RESOLVED).exists():
                write_report(self._run_dir, result)
        except Exception as error:  # noqa: BLE001  - a failing report must not fail a training
            if not self._failure_reported:
                self._failure_reported = True
                message = f"the report cannot be written: {type(error).__name__}: {error}"
                self._reporter.emit(Warn(code="report_failed", message=message))
        self._drawn = time.monotonic()


def _template() -> Template:
    files = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=files, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("report.html.j2")
