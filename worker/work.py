"""The work of each queue: claim a row, work on it, and wake workers for the jobs that waited for it."""

import logging
from functools import partial

from api import log_setup, tracing
from api.jobs import claims, expiry, upload_checks
from api.tables import job_inputs
from api.uploads.datasets import unpacked
from api.wake_ups import INSPECT, TRAIN
from worker import importing, inspection, supervisor
from worker.claim_loop import Claim, Work
from worker.workplace import Workplace

log = logging.getLogger(__name__)


def train(place: Workplace) -> Work | None:
    """Claim the best job that can start; return the work on it, or None when there is no such job."""
    with place.database.transaction() as session:
        expiry.fail_blocked(session)
        held = claims.claim(
            session,
            place.name,
            place.settings.lease_seconds,
            place.settings.quota_running_jobs,
            with_gpu=bool(place.devices),
        )
    return partial(place.wakeups.context_of(held.id).run, _run_job, place, held) if held is not None else None


def inspect(place: Workplace) -> Work | None:
    """Claim the oldest unchecked upload, or a dataset to copy; return the work on it, or None when there is neither."""
    with place.database.transaction() as session:
        claimed = upload_checks.claim(session, place.name, place.settings.lease_seconds)
    return partial(place.wakeups.context_of(claimed.id).run, _check, place, claimed) if claimed is not None else None


CLAIMS: dict[str, Claim] = {TRAIN: train, INSPECT: inspect}


def _run_job(place: Workplace, held: claims.Held) -> None:
    about = log_setup.about(job_id=held.id, attempt=held.attempt, request_id=held.request_id)
    with about, tracing.continuing(held.traceparent):
        log.info("claimed %s, attempt %d", held.id, held.attempt)
        supervisor.run(place, held)
    unpacked.sweep(place.database, place.cache)
    _ring_for(place, held.id)


def _check(place: Workplace, claimed: upload_checks.Check | upload_checks.Import) -> None:
    with log_setup.about(upload_id=claimed.id, attempt=claimed.attempt):
        log.info("claimed %s, attempt %d", claimed.id, claimed.attempt)
        if isinstance(claimed, upload_checks.Import):
            importing.run(place, claimed)
        else:
            inspection.run(place, claimed)
    unpacked.sweep(place.database, place.cache)
    _ring_for(place, claimed.id)


def _ring_for(place: Workplace, row_id: str) -> None:
    """Wake workers for the row itself, if it is queued again, and for the jobs that waited for it."""
    with place.database.transaction() as session:
        expiry.fail_blocked(session)
        waiting = [job_id for job_id in job_inputs.waiting_for(session, row_id) if expiry.can_start(session, job_id)]
        for job_id in waiting:
            expiry.mark_rung(session, job_id)
    for job_id in waiting:
        place.doorbell.ring(TRAIN, job_id)
