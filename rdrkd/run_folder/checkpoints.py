"""The checkpoints of a run folder: each is a folder, and either complete or absent."""

import shutil
from collections.abc import Callable
from pathlib import Path

from rdrkd.files import full_disk_named, sync_folder
from rdrkd.run_folder.names import CHECKPOINTS

KEPT = 2  # newest checkpoints to keep: one to resume from, and one in case that is damaged
STATE = "state.pt"


def write(run_dir: Path, epoch: int, fill: Callable[[Path], None]) -> Path:
    """Have `fill` write a checkpoint's files, then rename the folder into place and remove old checkpoints.

    Args:
        run_dir: the run folder.
        epoch: finished epochs.
        fill: writes the files into the given folder.

    Returns:
        The folder, `checkpoints/<epoch, at least 4 digits>`.

    Raises:
        DiskFullError: no space; earlier checkpoints are kept.
    """
    parent = run_dir / CHECKPOINTS
    parent.mkdir(exist_ok=True)
    for stale in parent.glob(".*"):
        shutil.rmtree(stale)
    temporary = parent / f".{epoch:04d}"
    temporary.mkdir()
    try:
        with full_disk_named(f"the checkpoint of epoch {epoch}"):
            fill(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    target = parent / f"{epoch:04d}"
    if target.exists():  # an epoch that was trained again after a NaN
        shutil.rmtree(target)
    temporary.rename(target)
    sync_folder(parent)
    # Later ones could not be read; the resumed training overwrites them when it reaches their epochs.
    for old in [path for path in complete(run_dir) if int(path.name) <= epoch][:-KEPT]:
        shutil.rmtree(old)
    return target


def complete(run_dir: Path) -> list[Path]:
    """Return the complete checkpoints, oldest first."""
    found = (
        path for path in (run_dir / CHECKPOINTS).glob("[0-9]*") if path.name.isdecimal() and (path / STATE).is_file()
    )
    return sorted(found, key=lambda path: int(path.name))  # from 10 000 on, a name has five digits
