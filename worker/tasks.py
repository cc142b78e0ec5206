"""The two tasks: answer the bell, claim a row, work on it. The id in the message is only a hint."""

import logging

from api import checks
from api.jobs import dependencies, lifecycle, repair
from api.queue import INSPECT, TRAIN
from worker import importing, inspection, supervisor
from worker.app import app, place

log = logging.getLogger(__name__)


@app.task(name=f"worker.ring_{TRAIN}")  # type: ignore[untyped-decorator]
def ring_train(job_id: str) -> None:
    """Run the best job that can start, whichever rang; without one there is nothing to do."""
    if place.draining.is_set():
        return  # the reaper rings again
    with place.database.transaction() as session:
        repair.fail_blocked(session)
        held = lifecycle.claim(
            session,
            place.name,
            place.settings.lease_seconds,
            place.settings.quota_running_jobs,
            with_gpu=bool(place.devices),
        )
    if held is None:
        log.info("nothing to claim (rung for %s)", job_id)
        return
    log.info("claimed %s, attempt %d (rung for %s)", held.id, held.attempt, job_id)
    supervisor.run(place, held)
    _ring_for(held.id)


@app.task(name=f"worker.ring_{INSPECT}")  # type: ignore[untyped-decorator]
def ring_inspect(upload_id: str) -> None:
    """Check the oldest unchecked upload, or copy it from where it is, whichever rang."""
    if place.draining.is_set():
        return
    with place.database.transaction() as session:
        claimed = checks.claim(session, place.name, place.settings.lease_seconds)
    if claimed is None:
        log.info("nothing to check (rung for %s)", upload_id)
        return
    if isinstance(claimed, checks.Import):
        importing.run(place, claimed)
    else:
        inspection.run(place, claimed)
    _ring_for(claimed.id)


def _ring_for(row_id: str) -> None:
    """Ring for the row itself, if it is queued again, and for the jobs that waited for it."""
    with place.database.transaction() as session:
        repair.fail_blocked(session)
        waiting = [job_id for job_id in dependencies.waiting_for(session, row_id) if repair.can_start(session, job_id)]
        for job_id in waiting:
            repair.mark_rung(session, job_id)
    for job_id in waiting:
        place.doorbell.ring(TRAIN, job_id)
