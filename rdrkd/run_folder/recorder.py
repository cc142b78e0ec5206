"""Record a run's warnings and calibrated weights in its folder."""

import json
import shutil
from pathlib import Path

from rdrkd.events import Calibrated, Event, Resolved, Warn
from rdrkd.files import full_disk_named, write_json
from rdrkd.paths import without_paths
from rdrkd.reporter import Reporter
from rdrkd.run_folder import checkpoints
from rdrkd.run_folder.names import RESOLVED, WARNINGS


class Recorder:
    """A reporter that forwards every event, and records warnings and calibrated weights.

    It records no path of this machine: a run folder's files are handed out, and its report shows the warnings.
    """

    def __init__(self, reporter: Reporter, run_dir: Path) -> None:
        self._reporter, self._run_dir = reporter, run_dir
        self._take_back()

    def emit(self, event: Event) -> None:
        """Record an event if it is one to keep, then forward it."""
        if isinstance(event, Warn):
            with full_disk_named(WARNINGS), (self._run_dir / WARNINGS).open("a") as file:
                written = event.model_copy(update={"message": without_paths(event.message)})
                file.write(written.model_dump_json() + "\n")
        self._reporter.emit(event)
        if isinstance(event, Calibrated):
            self._reporter.emit(Resolved(resolved_spec=self._with_weights(event)))

    def should_stop(self) -> bool:
        """Ask the wrapped reporter."""
        return self._reporter.should_stop()

    def _take_back(self) -> None:
        """Restore the warnings of the resumed run; without a checkpoint, discard them."""
        own = self._run_dir / WARNINGS
        found = checkpoints.complete(self._run_dir)
        if not found:
            own.unlink(missing_ok=True)
        elif not own.exists() and (found[-1] / WARNINGS).is_file():  # restored on another machine
            shutil.copyfile(found[-1] / WARNINGS, own)

    def _with_weights(self, event: Calibrated) -> dict[str, object]:
        """Put the chosen weights into the resolved spec."""
        path = self._run_dir / RESOLVED
        resolved: dict[str, object] = json.loads(path.read_text())
        for term in resolved["distillation"]["losses"]:  # type: ignore[index]
            term["weight"] = event.weights[term["name"]]
        write_json(path, resolved)
        return resolved
