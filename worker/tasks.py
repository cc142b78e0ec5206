"""The two tasks: answer the bell, claim a row, work on it. The id in the message is only a hint."""

import logging

from celery import Task

from api import checks, journal
from api.jobs import dependencies, lifecycle, repair
from api.queue import INSPECT, REQUEST, TRAIN
from worker import importing, inspection, supervisor
from worker.app import app, place

log = logging.getLogger(__name__)


@app.task(name=f"worker.ring_{TRAIN}", bind=True)  # type: ignore[untyped-decorator]
def ring_train(self: Task, job_id: str) -> None:
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
    with journal.about(job_id=held.id, attempt=held.attempt, request_id=_request(self, held.id == job_id)):
        log.info("claimed %s, attempt %d (rung for %s)", held.id, held.attempt, job_id)
        supervisor.run(place, held)
    _ring_for(held.id)


@app.task(name=f"worker.ring_{INSPECT}", bind=True)  # type: ignore[untyped-decorator]
def ring_inspect(self: Task, upload_id: str) -> None:
    """Check the oldest unchecked upload, or copy it from where it is, whichever rang."""
    if place.draining.is_set():
        return
    with place.database.transaction() as session:
        claimed = checks.claim(session, place.name, place.settings.lease_seconds)
    if claimed is None:
        log.info("nothing to check (rung for %s)", upload_id)
        return
    rung = _request(self, claimed.id == upload_id)
    with journal.about(upload_id=claimed.id, attempt=claimed.attempt, request_id=rung):
        if isinstance(claimed, checks.Import):
            importing.run(place, claimed)
        else:
            inspection.run(place, claimed)
    _ring_for(claimed.id)


def _request(task: Task, own: bool) -> str | None:
    """Give the request that rang, if it rang for the row that was claimed."""
    request_id: str | None = task.request.get(REQUEST)
    return request_id if own else None


def _ring_for(row_id: str) -> None:
    """Ring for the row itself, if it is queued again, and for the jobs that waited for it."""
    with place.database.transaction() as session:
        repair.fail_blocked(session)
        waiting = [job_id for job_id in dependencies.waiting_for(session, row_id) if repair.can_start(session, job_id)]
        for job_id in waiting:
            repair.mark_rung(session, job_id)
    for job_id in waiting:
        place.doorbell.ring(TRAIN, job_id)
