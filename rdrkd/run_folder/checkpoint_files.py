"""Files of the run folder that are part of a training's state, and so of each checkpoint."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from rdrkd.run_folder.names import FOUND, METRICS, PAGE, PICTURE, SHOWN, WARNINGS

PARTS = ("student", "alone")  # the trainings of a run, in turn
WEIGHTS = {part: (f"{part}.pt", f"{part}.safetensors") for part in PARTS}
OF_TRAINING = (*WEIGHTS["student"], *WEIGHTS["alone"], METRICS, PAGE, PICTURE)
# Part of every checkpoint; the recorder restores its warnings itself, and the predictions are made again.
CARRIED = (*OF_TRAINING, WARNINGS, FOUND, *SHOWN)


def copy(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy those of the named files that exist from one folder to another."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def clear(run_dir: Path, part: str) -> None:
    """Remove the files of a part that was stopped before its first checkpoint, and of the parts after it."""
    later = PARTS[PARTS.index(part) :]
    gone = (*OF_TRAINING, FOUND, *SHOWN) if part == PARTS[0] else [name for each in later for name in WEIGHTS[each]]
    for name in gone:
        (run_dir / name).unlink(missing_ok=True)
