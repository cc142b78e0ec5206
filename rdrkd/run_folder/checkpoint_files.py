"""Files of the run folder that belong to a training's present state, and so to each checkpoint."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from rdrkd.run_folder.names import METRICS, PAGE, PICTURE, WARNINGS

OF_TRAINING = ("student.pt", "student.safetensors", METRICS, PAGE, PICTURE)
CARRIED = (*OF_TRAINING, WARNINGS)  # part of every checkpoint; the recorder takes its warnings back itself


def copy(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy those of the named files that are there from one folder to another."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
