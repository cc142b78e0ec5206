"""Endpoint of a job's events: a list, or a stream until the job ends."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from sqlalchemy import select
from starlette.responses import Response

from api.db import Database
from api.errors import Invalid, NotFound, TooManyWaiting
from api.http.dependencies import DatabaseDep, WatchDep, Work, refusals
from api.http.routing import Route
from api.http.streams import JSON, STREAM, Batch, EventStream, accepted, encode
from api.jobs import service as jobs
from api.jobs.events import service
from api.jobs.events.schemas import EventPage, EventView
from api.tables.jobs import Job
from api.tables.states import TERMINAL

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=Route)

MOST_SEQ = 2**31 - 1  # the column's
ROWS = 500  # of one read of a stream
Seq = Annotated[int, Query(ge=0, le=MOST_SEQ, description="return events after this `seq`")]
Limit = Annotated[int, Query(ge=1, le=1000, description="events per page; a stream returns all")]
LastEventId = Annotated[
    int | None,
    Header(
        ge=0,
        le=MOST_SEQ,
        description="streams only: `id` of the last event that the client received; takes precedence over `after`",
    ),
]
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {STREAM: {"schema": {"type": "string"}}}, "description": "a page, or a stream to the job's end"},
    204: {"description": "of a stream: the job has ended, and the client has everything"},
}


@router.get(
    "/events",
    operation_id="list_job_events",
    response_model=EventPage,
    responses={**RESPONSES, **refusals(NotFound, Invalid, TooManyWaiting)},
)
def list_job_events(
    job_id: str,
    request: Request,
    work: Work,
    database: DatabaseDep,
    watch: WatchDep,
    after: Seq = 0,
    limit: Limit = 100,
    last_event_id: LastEventId = None,
) -> EventPage | Response:
    """List a job's events, oldest first: status changes, epochs, checkpoints, artifacts, warnings.

    With `Accept: text/event-stream`, events are streamed as they happen until the job has ended, each with its `seq` as
    `id`. Reconnect to any replica with `Last-Event-ID` to continue without loss or repetition.
    """
    job = jobs.get(work.session, job_id)
    if accepted(request, JSON, STREAM) == JSON:
        return EventPage.of(service.after(work.session, job_id, after, limit + 1), limit)
    start = after if last_event_id is None else last_event_id
    if job.status in TERMINAL and not service.after(work.session, job_id, start, 1):
        return Response(status_code=204)
    return EventStream(watch, job_id, partial(_read, database, job_id), start)


def _read(database: Database, job_id: str, seq: int) -> Batch[int]:
    with database.reading() as session:
        # Before the events: the one that ends the job is written with its status.
        status = session.scalar(select(Job.status).where(Job.id == job_id))
        rows = service.after(session, job_id, seq, ROWS)
    body = b"".join(encode(EventView.model_validate(row), row.type, str(row.seq)) for row in rows)
    over = status is None or status in TERMINAL
    more = len(rows) == ROWS or (over and bool(rows))
    return Batch(body, rows[-1].seq if rows else seq, ended=over and not rows, more=more)
