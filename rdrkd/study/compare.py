"""Draw the report of a study in a run folder: the results in `study.json`, the panel's students in `weights/`."""

from pathlib import Path
from typing import Any

from rdrkd.data import Dataset
from rdrkd.evaluation.operating_points import threshold_of
from rdrkd.evaluation.pictures import Drawn
from rdrkd.evaluation.pictures import compare as draw
from rdrkd.run_folder.names import STUDY
from rdrkd.study import panel, results
from rdrkd.study.members import columns_of
from rdrkd.study.report import write_report


def compare(run_dir: Path, dataset: Dataset) -> dict[str, Any]:
    """Draw the report and return its results.

    Args:
        run_dir: the run folder; the report is written beside `study.json`.
        dataset: the study's dataset, whose validation images the panel shows.

    Raises:
        SpecError: the folder holds no results.
    """
    found = results.read(run_dir / STUDY)
    weights = {path.stem.partition("-")[2]: path for path in sorted((run_dir / results.WEIGHTS).glob("*.pt"))}
    if weights:
        shown = dict(columns_of((member["method"], member["seed"], member) for member in found["members"]))
        networks = {method: Drawn(path, threshold_of(shown.get(method))) for method, path in weights.items()}
        draw(dataset, networks, run_dir / panel.NAME, int(found["study"]["train"]["imgsz"]))
    written = write_report(found, run_dir, panel.NAME if weights else None)
    return {"members": len(found["members"]), "files": sorted(path.name for path in written)}
