"""Create and clear the run folders of attempts; only the log of an ended attempt is kept."""

import contextlib
import shutil
from pathlib import Path

LOG = "trainer.log"


def inputs(folder: Path) -> Path:
    """Return the folder for a job's input files that the store does not have on this machine.

    They are links into the cache that all jobs share. The folder is beside the run folder, so that the trainer can
    read the files but write only to its own folder (`rdrkd.process.trainer_sandbox`).
    """
    return folder.with_name(f"{folder.name}.inputs")


def prepare(folder: Path) -> None:
    """Create an empty run folder, and clear those of the job's earlier attempts on this machine."""
    for other in folder.parent.glob("attempt-*"):
        clear(other)
    folder.mkdir(parents=True, exist_ok=True)


def clear(folder: Path) -> None:
    """Remove a run folder's inputs and everything in it but the log."""
    shutil.rmtree(inputs(folder), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name.startswith(LOG):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)  # a fenced worker's trainer may still write to it
            else:
                path.unlink(missing_ok=True)
