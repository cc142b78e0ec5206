"""The report of a run: one page that tells, from the run folder alone, which term did what."""

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from rdrkd.diagnostics import drawing, presence, tables
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
_SECONDS = 30.0  # from one report of a training to the next: drawing one takes about a second


def write_report(run_dir: Path, result: Mapping[str, Any] | None = None) -> list[str]:
    """Write `report.html` and `report.png` into a run folder, finished or not; give their names.

    Args:
        run_dir: the run folder; nothing else is read.
        result: of a run that is about to write it; by default that of `result.json`.

    Raises:
        FolderError: it is no run folder.
        DiskFullError: no room; an earlier report stands.
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
        left_out=presence.note(run),
        pictures=_pictures(run_dir) if result is not None or run.result is not None else [],
        spec=without_paths(json.dumps(run.spec, indent=2, ensure_ascii=False)),
    )
    write_atomically(run_dir / PAGE, page.encode(errors="replace"))  # JSON can hold halves of characters
    write_atomically(run_dir / PICTURE, picture)
    return [PAGE, PICTURE]


def _pictures(run_dir: Path) -> list[tuple[str, str]]:
    """Return the pictures that the run has left, each with its caption, as data URLs."""
    found = []
    for name, caption in _PICTURES.items():
        if (file := run_dir / name).is_file():
            kind = "jpeg" if file.suffix == ".jpg" else "png"
            found.append((caption, f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"))
    return found


class Reports:
    """Keeps the report of a training up to date, now and then; whatever befalls it, the training goes on."""

    def __init__(self, run_dir: Path, reporter: Reporter) -> None:
        self._run_dir, self._reporter = run_dir, reporter
        self._drawn = time.monotonic()  # as if just now: a training that ends sooner draws one report, at its end
        self._failure_told = False

    def refresh(self) -> None:
        """Write the report if the last one is old enough."""
        if time.monotonic() - self._drawn >= _SECONDS:
            self.write()

    def write(self, result: Mapping[str, Any] | None = None) -> None:
        """Write the report, as `write_report` does; a failure is reported once. A training outside a run has none."""
        try:
            if (self._run_dir / RESOLVED).exists():
                write_report(self._run_dir, result)
        except Exception as error:  # noqa: BLE001 - a page is no reason to lose a training
            if not self._failure_told:
                self._failure_told = True
                message = f"the report cannot be written: {type(error).__name__}: {error}"
                self._reporter.emit(Warn(code="report_failed", message=message))
        self._drawn = time.monotonic()


def _template() -> Template:
    files = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=files, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("report.html.j2")
