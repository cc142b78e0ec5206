"""Run folders come and go with attempts; what stays of an ended one is its log."""

import contextlib
import shutil
from pathlib import Path

LOG = "trainer.log"


def inputs(folder: Path) -> Path:
    """Return where the files lie that a job needs and the store does not have on this machine.

    They are links into the cache of all jobs. So they lie beside the run folder: its trainer may read them, but
    write to its own folder only (`rdrkd.process.confinement`).
    """
    return folder.with_name(f"{folder.name}.inputs")


def prepare(folder: Path) -> None:
    """Make an empty run folder, and clear those of the job's earlier attempts on this machine."""
    for other in folder.parent.glob("attempt-*"):
        clear(other)
    folder.mkdir(parents=True, exist_ok=True)


def clear(folder: Path) -> None:
    """Remove everything of a run folder but its log, and its inputs."""
    shutil.rmtree(inputs(folder), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name.startswith(LOG):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)  # a trainer of a fenced worker may still write into it
            else:
                path.unlink(missing_ok=True)
