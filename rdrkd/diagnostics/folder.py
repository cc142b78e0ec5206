"""Read a run folder for a report; tolerate lines that are missing, truncated or from an earlier version."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rdrkd.diagnostics.history import Failure, Notice, Row, Run, finite
from rdrkd.errors import FolderError
from rdrkd.run_folder.names import FAILURE, METRICS, RESOLVED, RESULT, WARNINGS


def read(run_dir: Path, result: Mapping[str, Any] | None = None) -> Run:
    """Read a run folder.

    Args:
        run_dir: the run folder.
        result: the result of a run that has not written it yet.

    Raises:
        FolderError: it is not a run folder, or its resolved spec is not readable.
    """
    try:
        spec = json.loads((run_dir / RESOLVED).read_text())
    except (OSError, ValueError) as error:
        came = error.strerror if isinstance(error, OSError) else error
        raise FolderError(
            f"expected a run folder, with a {RESOLVED} that can be read, got {run_dir}: {came}"
        ) from error
    if not isinstance(spec, dict):
        raise FolderError(f"expected an object in {RESOLVED}, got {type(spec).__name__}")
    lines = list(_lines(run_dir / METRICS))
    rows = {row.epoch: row for row in map(_row, lines) if row}  # an epoch trained again replaces the earlier one
    alone = {
        line["epoch"]: line for line in lines if line.get("part") == "alone" and isinstance(line.get("epoch"), int)
    }
    return Run(
        folder=run_dir.resolve().name,
        spec=spec,
        rows=[rows[epoch] for epoch in sorted(rows)],
        alone=len(alone),
        warnings=_notices(run_dir / WARNINGS),
        failure=_failure(run_dir / FAILURE),
        result=result if result is not None else next(_lines(run_dir / RESULT, whole=True), None),
    )


def _lines(path: Path, whole: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file, one per line or a single one; skip lines that a killed process left incomplete."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in [text] if whole else text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _notices(path: Path) -> list[Notice]:
    """Return the distinct warnings, in order of first occurrence."""
    found: dict[tuple[str, str], list[Any]] = {}
    for line in _lines(path):
        found.setdefault((str(line.get("code")), str(line.get("message"))), []).append(line.get("epoch"))
    return [
        Notice(code, message, len(epochs), tuple(epoch for epoch in epochs if isinstance(epoch, int)))
        for (code, message), epochs in found.items()
    ]


def _failure(path: Path) -> Failure | None:
    said = next(_lines(path, whole=True), None)
    if said is None:
        return None
    listed = said.get("problems")
    problems = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    shown = [(str(each.get("where", "")), str(each.get("detail", ""))) for each in problems]
    return Failure(str(said.get("reason", "")), str(said.get("message", "")), shown)


def _row(line: dict[str, Any]) -> Row | None:
    epoch, epochs = line.get("epoch"), line.get("epochs")
    if not isinstance(epoch, int) or line.get("part") == "alone":
        return None
    groups = {name: _numbers(line.get(name)) for name in ("losses", "weights", "diagnostics", "metrics")}
    planned = epochs if isinstance(epochs, int) else None
    return Row(epoch=epoch, epochs=planned, lr=finite(line.get("lr")), seconds=finite(line.get("seconds")), **groups)


def _numbers(found: Any) -> dict[str, float]:
    values = {str(key): finite(value) for key, value in found.items()} if isinstance(found, Mapping) else {}
    return {key: value for key, value in values.items() if value is not None}
