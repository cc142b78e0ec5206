"""The qualitative panel of the paper's Fig. 4: the same images with the truth, the student alone, and each method."""

from pathlib import Path

from rdrkd.data import open_dataset
from rdrkd.pictures import compare
from rdrkd.study.members import Member
from rdrkd.study.statistics import BASELINE

NAME = "panel.png"


def draw_panel(members: list[Member], folder: Path, out: Path, dataset: Path, most: int = 3) -> str | None:
    """Draw the panel from the run folders of one seed: the baseline and up to `most` - 1 methods.

    Args:
        members: of the study.
        folder: of the study's run folders.
        out: where the panel goes.
        dataset: path of the dataset.
        most: columns beside the ground truth.

    Returns:
        Its file name, or None where no seed has both the baseline and a method on this machine.
    """
    for seed in dict.fromkeys(member.seed for member in members):
        own = [m for m in members if m.seed == seed and (folder / m.folder / "result.json").is_file()]
        own.sort(key=lambda member: member.method != BASELINE)  # stable: the rest in the study's order
        if len(own) > 1 and own[0].method == BASELINE:
            weights = {member.method: folder / member.folder / "student.pt" for member in own[:most]}
            data = open_dataset(dataset, folder / "cache")
            out.mkdir(parents=True, exist_ok=True)
            compare(data, weights, out / NAME, int(own[0].spec["train"]["imgsz"]))
            return NAME
    return None
