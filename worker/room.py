"""Room on the disks that a worker writes to: without it, every job that it took would fail.

A full disk is the worker's fault before it is the job's. So a job that meets one goes back to the queue, and a worker
whose disk is nearly full takes nothing. Only a job that fills one disk after the other ends.
"""

import shutil
from dataclasses import replace

from sqlalchemy.orm import Session

from api.jobs import lifecycle
from api.jobs.attempts import service as attempts
from api.jobs.lifecycle import Ending, Held
from api.uploads.datasets import unpacked
from rdrkd import caching
from rdrkd.reasons import Reason
from worker.workplace import Workplace

MOST_FULL_DISKS = 3  # that a job may meet in a row before it ends


def give_back_or_end(session: Session, held: Held, ending: Ending) -> None:
    """Give back a job that has met a full disk; fail it after too many in a row."""
    met = 1 + attempts.given_back_in_a_row(session, held.id, Reason.DISK_FULL)
    if met < MOST_FULL_DISKS:
        lifecycle.requeue(session, held, why=Reason.DISK_FULL)
        return
    message = f"met a full disk in {met} attempts in a row; the last time: {ending.message}"
    lifecycle.finish(session, held, replace(ending, message=message))


def shortage(place: Workplace) -> str | None:
    """Return what is lacking, as a sentence without paths; None while there is room for work."""
    least = place.settings.min_free_bytes
    if _free(place) < least and caching.names(place.cache):
        caching.shrink(place.cache, unpacked.bound_of(place.settings))
    for what, free in (("run folders", _free(place)), ("file store", place.storage.free())):
        if free < least:
            return f"expected {least} bytes to be free on the disk of the {what}, got {free}"
    return None


def _free(place: Workplace) -> int:
    runs = place.runs
    return shutil.disk_usage(next(folder for folder in (runs, *runs.parents) if folder.exists())).free
