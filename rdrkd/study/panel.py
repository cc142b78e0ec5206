"""The qualitative panel of the paper's Fig. 4: the same images with the truth, the student alone, and each method."""

import json
from pathlib import Path

from rdrkd.data import open_dataset
from rdrkd.evaluation.operating_points import threshold_of
from rdrkd.evaluation.pictures import Drawn, compare
from rdrkd.run_folder.names import RESULT
from rdrkd.study.members import Member, columns_of

NAME = "panel.png"


def draw_panel(members: list[Member], folder: Path, out: Path, dataset: Path) -> str | None:
    """Draw the panel from the run folders of one seed.

    Args:
        members: the study's members.
        folder: folder of the study's run folders.
        out: folder to write the panel to.
        dataset: path of the dataset.

    Returns:
        Its file name, or None if no seed has both the baseline and a method on this machine.
    """
    finished = [m for m in members if (folder / m.folder / RESULT).is_file()]
    columns = columns_of((member.method, member.seed, member) for member in finished)
    if not columns:
        return None
    networks = {method: _drawn(folder / member.folder) for method, member in columns}
    out.mkdir(parents=True, exist_ok=True)
    compare(open_dataset(dataset, folder / "cache"), networks, out / NAME, int(members[0].spec["train"]["imgsz"]))
    return NAME


def _drawn(run: Path) -> Drawn:
    return Drawn(run / "student.pt", threshold_of(json.loads((run / RESULT).read_text()).get("metrics")))
