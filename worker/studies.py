"""What a report of a study is drawn from: its results and the panel's students, laid into the run folder."""

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from api.jobs.service import COMPARE
from api.storage import Storage
from api.studies import results
from rdrkd.study.results import write

__all__ = ["COMPARE", "lay_out"]


def lay_out(session: Session, storage: Storage, spec: dict[str, Any], folder: Path) -> None:
    """Write `study.json` and `weights/<number>-<method>.pt` into a run folder; weights that are gone are left out."""
    write(results.results_of(session, spec["study"], spec["jobs"]), folder / "study.json")
    (folder / "weights").mkdir()
    for number, (method, weights) in enumerate(results.panel_of(session, spec["study"], spec["jobs"])):
        if storage.verify(weights.key, weights.sha256):
            shutil.copyfile(storage.path(weights.key), folder / "weights" / f"{number}-{method}.pt")
