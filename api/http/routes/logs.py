"""Endpoint of a job's logs: text, JSON, or a stream until the job ends."""

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
from api.jobs.logs import service
from api.jobs.logs.schemas import LogPage, as_text, pieces
from api.jobs.logs.service import Cursor
from api.tables.jobs import Job
from api.tables.logs import JobLog
from api.tables.states import TERMINAL
from rdrkd.spec.forms import form

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=Route)

TEXT = "text/plain"
CURSOR = form(r"^[0-9]{1,9}-[0-9]{1,9}$", "`next` of the previous response, such as 1-20")
MOST_ATTEMPT = 2**31 - 1  # the column's
Tail = Annotated[int, Query(ge=1, le=10_000, description="number of last lines to return; a stream starts with them")]
After = Annotated[str, Query(pattern=CURSOR, description="`next` of the previous response, or the `id` of an event")]
Attempt = Annotated[int, Query(ge=1, le=MOST_ATTEMPT, description="only of this attempt")]
LastEventId = Annotated[
    str | None,
    Header(
        pattern=CURSOR,
        description="streams only: `id` of the last event received; takes precedence over the others",
    ),
]
STRING: dict[str, Any] = {"schema": {"type": "string"}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {TEXT: STRING, STREAM: STRING, JSON: {"schema": {"$ref": "#/components/schemas/LogPage"}}},
        "description": "lines, oldest first; `Link: <...>; rel=next` is the next page",
        "model": LogPage,
    },
    204: {"description": "of a stream: the job has ended, and the client has everything"},
}


@router.get(
    "/logs",
    operation_id="get_job_logs",
    response_class=Response,
    responses={**RESPONSES, **refusals(NotFound, Invalid, TooManyWaiting)},
)
def get_job_logs(
    job_id: str,
    request: Request,
    work: Work,
    database: DatabaseDep,
    watch: WatchDep,
    tail: Tail | None = None,
    after: After = "0-0",
    attempt: Attempt | None = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Return the output of a job's trainers, in every state: the newest MiB of each attempt.

    Plain text, JSON or a stream, by the Accept header. Workers send new lines with every heartbeat.
    """
    job = jobs.get(work.session, job_id)
    start = Cursor.of(after if last_event_id is None else last_event_id)
    form = accepted(request, TEXT, JSON, STREAM)
    if tail is not None and last_event_id is None:
        rows = service.tail(work.session, job_id, tail, attempt)
        start, has_more = Cursor(rows[0].attempt, rows[0].number - 1) if rows else start, False
    else:
        rows, has_more = service.after(work.session, job_id, start, attempt)
    if form != STREAM:
        return _page(job_id, rows, start, has_more, form, attempt)
    if job.status in TERMINAL and not rows:
        return Response(status_code=204)
    return EventStream(watch, job_id, partial(_read, database, job_id, attempt), start)


def _page(job_id: str, rows: list[JobLog], start: Cursor, has_more: bool, form: str, attempt: int | None) -> Response:
    shown, following = pieces(rows, start), _end(rows, start)
    only = f"&attempt={attempt}" if attempt is not None else ""
    link = f'</v1/jobs/{job_id}/logs?after={following}{only}>; rel="next"'
    page = LogPage(data=shown, has_more=has_more, next=str(following))
    content = page.model_dump_json() if form == JSON else as_text(shown)
    return Response(content, media_type=form, headers={"Link": link})


def _read(database: Database, job_id: str, attempt: int | None, start: Cursor) -> Batch[Cursor]:
    with database.reading() as session:
        # Before the lines: the last ones are written before the job ends.
        status = session.scalar(select(Job.status).where(Job.id == job_id))
        rows, has_more = service.after(session, job_id, start, attempt)
    body = b"".join(encode(piece, "log", f"{piece.attempt}-{piece.number}") for piece in pieces(rows, start))
    over = status is None or status in TERMINAL
    return Batch(body, _end(rows, start), ended=over and not rows, more=has_more or (over and bool(rows)))


def _end(rows: list[JobLog], start: Cursor) -> Cursor:
    return Cursor(rows[-1].attempt, rows[-1].number) if rows else start
