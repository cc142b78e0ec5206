"""Free space on the disks that a worker writes to; without it, every job that the worker claims would fail.

A full disk is more likely the worker's fault than the job's. A job that hits one is therefore re-queued, and a worker
whose disk is nearly full claims nothing. A job that fills several disks in a row fails.
"""

import shutil
from dataclasses import replace

from sqlalchemy.orm import Session

from api.jobs import lifecycle
from api.jobs.attempts import service as attempts
from api.jobs.lifecycle import Ending, Held
from api.uploads.datasets import unpacked
from rdrkd import bounded_cache
from rdrkd.reasons import Reason
from worker.workplace import Workplace

MOST_FULL_DISKS = 3  # in a row, after which the job fails


def give_back_or_end(session: Session, held: Held, ending: Ending) -> None:
    """Re-queue a job that hit a full disk; fail it after too many in a row."""
    met = 1 + attempts.given_back_in_a_row(session, held.id, Reason.DISK_FULL)
    if met < MOST_FULL_DISKS:
        lifecycle.requeue(session, held, why=Reason.DISK_FULL)
        return
    message = f"hit a full disk in {met} attempts in a row; the last time: {ending.message}"
    lifecycle.finish(session, held, replace(ending, message=message))


def shortage(place: Workplace) -> str | None:
    """Return which disk lacks space, as a sentence without paths, or None while there is enough."""
    least = place.settings.min_free_bytes
    if _free(place) < least and bounded_cache.names(place.cache):
        bounded_cache.shrink(place.cache, unpacked.bound_of(place.settings))
    for what, free in (("run folders", _free(place)), ("file store", place.storage.free())):
        if free < least:
            return f"expected {least} bytes to be free on the disk of the {what}, got {free}"
    return None


def _free(place: Workplace) -> int:
    runs = place.runs
    return shutil.disk_usage(next(folder for folder in (runs, *runs.parents) if folder.exists())).free
