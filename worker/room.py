"""Room on the disks that a worker writes to: without it, every job that it took would fail."""

import shutil

from worker.workplace import Workplace


def shortage(place: Workplace) -> str | None:
    """Return what is lacking, as a sentence without paths; None while there is room for work."""
    least = place.settings.min_free_bytes
    for what, free in (("run folders", _free(place)), ("file store", place.storage.free())):
        if free < least:
            return f"expected {least} bytes to be free on the disk of the {what}, got {free}"
    return None


def _free(place: Workplace) -> int:
    runs = place.runs
    return shutil.disk_usage(next(folder for folder in (runs, *runs.parents) if folder.exists())).free
