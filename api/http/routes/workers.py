"""Endpoints of the workers and of the queue."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.errors import Invalid
from api.http.dependencies import Work, refusals
from api.http.routing import Route
from api.jobs.waiting import Shared, waiting_for
from api.jobs.workers import service
from api.jobs.workers.schemas import QueuedJob, QueueView, Workers, WorkerView

router = APIRouter(tags=["workers"], route_class=Route)


@router.get("/workers", operation_id="list_workers", responses=refusals())
def list_workers(work: Work) -> Workers:
    """List the workers, each with its last heartbeat, its devices and what it is working on."""
    return Workers(data=[WorkerView.of(present) for present in service.present(work.session)])


@router.get("/queue", operation_id="get_queue", responses=refusals(Invalid))
def get_queue(
    work: Work, limit: Annotated[int, Query(ge=1, le=200, description="number of queued jobs to list")] = 100
) -> QueueView:
    """Return the number of jobs by status, and the next queued jobs with what each waits for."""
    found = service.queue(work.session, limit)
    shared = Shared(work.session, [job for job, _ in found.rows])
    return QueueView(
        counts=found.counts,
        workers=found.workers,
        claimable=found.claimable,
        oldest_seconds=found.oldest_seconds,
        data=[
            QueuedJob.of(job, position, waiting_for(work.session, job, position=position, shared=shared))
            for job, position in found.rows
        ],
        has_more=found.has_more,
    )
