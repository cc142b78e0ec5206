"""Write the inputs of a study's report to the run folder: the results, and the students for the panel."""

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from api.storage import Storage
from api.studies.results import panel_of, results_of
from api.tables.jobs import COMPARE
from rdrkd.run_folder.names import STUDY
from rdrkd.study import results

__all__ = ["COMPARE", "lay_out"]


def lay_out(session: Session, storage: Storage, spec: dict[str, Any], folder: Path) -> None:
    """Write `study.json` and `weights/<number>-<method>.pt` into a run folder; skip weights that no longer exist."""
    results.write(results_of(session, spec["study"], spec["jobs"]), folder / STUDY)
    weights_folder = folder / results.WEIGHTS
    weights_folder.mkdir()
    for number, (method, weights) in enumerate(panel_of(session, spec["study"], spec["jobs"])):
        storage.copy_to(weights.key, weights.sha256, weights_folder / f"{number}-{method}.pt")
