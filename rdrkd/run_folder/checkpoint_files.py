"""Files of the run folder that belong to a training's present state, and so to each checkpoint."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from rdrkd.run_folder.names import FOUND, METRICS, PAGE, PICTURE, SHOWN, WARNINGS

PARTS = ("student", "alone")  # the trainings of a run, in turn
WEIGHTS = {part: (f"{part}.pt", f"{part}.safetensors") for part in PARTS}
OF_TRAINING = (*WEIGHTS["student"], *WEIGHTS["alone"], METRICS, PAGE, PICTURE)
# Part of every checkpoint; the recorder takes its warnings back itself, and the predictions are made anew.
CARRIED = (*OF_TRAINING, WARNINGS, FOUND, *SHOWN)


def copy(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy those of the named files that are there from one folder to another."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def clear(run_dir: Path, part: str) -> None:
    """Remove what a part and those after it have left that ended before the part's first checkpoint."""
    later = PARTS[PARTS.index(part) :]
    gone = (*OF_TRAINING, FOUND, *SHOWN) if part == PARTS[0] else [name for each in later for name in WEIGHTS[each]]
    for name in gone:
        (run_dir / name).unlink(missing_ok=True)
