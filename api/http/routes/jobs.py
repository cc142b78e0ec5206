"""Endpoints of jobs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from api.errors import (
    AlreadyFinished,
    CrossSite,
    Invalid,
    NotFound,
    PathNotAllowed,
    QuotaExceeded,
    StorageFull,
    TooManyWaiting,
    UnknownReference,
    UnusableReference,
)
from api.http.dependencies import OF_JSON, IfNoneMatch, Work, json_only, reading, refusals, room, watch_of
from api.http.idempotency import KEYED, OnceDep
from api.http.responses import matches
from api.http.routes import polling
from api.http.routing import Route, Short
from api.jobs import examples, filters, service, warnings
from api.jobs.schemas import JobDetail, JobView
from api.jobs.waiting import Shared, waiting_for
from api.pagination import After, Limit, Page
from api.tables.states import Status
from api.wake_ups import TRAIN
from rdrkd.spec import STUDY_ID, JobSpec, Moment, Name
from rdrkd.spec.forms import form

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=Route)

Label = Annotated[str, Query(pattern=form(r"^[A-Za-z0-9_.-]{1,64}=[^\x00]{0,512}$", "a label, `key=value`"))]
POLL_SECONDS = "2"


@router.post(
    "",
    status_code=202,
    operation_id="create_job",
    dependencies=[Depends(json_only), Depends(room)],
    responses=refusals(
        *OF_JSON, *KEYED, PathNotAllowed, UnknownReference, UnusableReference, QuotaExceeded, StorageFull
    ),
)
def create_job(
    spec: Annotated[JobSpec, Body(openapi_examples=examples.JOBS)], once: OnceDep, work: Work, response: Response
) -> JobDetail:
    """Submit a job: distil a student from a teacher, train a model alone, evaluate weights, or export them.

    The job may refer to uploads that are still being checked and to jobs that still run: it waits for them.
    """
    job = service.create(work.session, spec)
    work.ring(TRAIN, job.id)
    view = JobDetail.of(job, waiting_for(work.session, job, count=True), warnings=[])
    once.accepted(work.session, view, response, view.links.self, POLL_SECONDS)
    return view


@router.get("", operation_id="list_jobs", responses=refusals(Invalid))
def list_jobs(
    work: Work,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[After, Query()] = None,
    status: Annotated[list[Status], Query(description="statuses to include; may be repeated")] = [],  # noqa: B006
    kind: Annotated[
        Literal["distill", "train", "evaluate", "export", "compare"] | None,
        Query(description="default: every kind except `compare`, the report jobs of studies"),
    ] = None,
    label: Annotated[list[Label], Query(description="`key=value`; if repeated, all must match")] = [],  # noqa: B006
    name: Annotated[Name | None, Query(description="the whole name")] = None,
    created_after: Annotated[Moment | None, Query(description="created at or after this time, RFC 3339")] = None,
    created_before: Annotated[
        Moment | None, Query(description="created before this time (exclusive), RFC 3339")
    ] = None,
    study: Annotated[
        str | None,
        Query(
            pattern=STUDY_ID, description="jobs of this study: teacher and members; with `kind=compare` its report jobs"
        ),
    ] = None,
) -> Page[JobView]:
    """List jobs, newest first."""
    labels = dict(item.split("=", 1) for item in label)
    others = filters.conditions(name, created_after, created_before, study)
    rows, following = service.newest(work.session, limit, after, status, kind, labels, others)
    shared = Shared(work.session, rows)
    views = [JobView.of(job, waiting_for(work.session, job, shared=shared)) for job in rows]
    return Page(data=views, has_more=following is not None, next=following)


async def get(
    job_id: str,
    request: Request,
    wait: Annotated[float, Query(ge=0, le=60, description="longest time to wait for a change, seconds")] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read one job: status, phase, epoch, ETA, last metrics, warnings, reason.

    To poll cheaply, send If-None-Match: the response is 304 while the job is unchanged. With `wait`, the response is
    delayed until the job differs from that version (without If-None-Match: changes its status), has ended, or the time
    is up.
    """
    read = reading(request)
    if wait:
        found = await polling.news(request, read, watch_of(request), job_id, if_none_match, wait)
    else:
        found = await polling.now(request, read, job_id, if_none_match)
    if found.content is None or matches(if_none_match, found.etag):
        return Response(status_code=304, headers={"ETag": found.etag})
    return Response(found.content, media_type="application/json", headers={"ETag": found.etag})


router.add_api_route(
    "/{job_id}",
    get,
    methods=["GET"],
    operation_id="get_job",
    response_model=JobDetail,
    responses={
        304: {"description": "the client's version is the newest"},
        **refusals(NotFound, Invalid, TooManyWaiting),
    },
    route_class_override=Short,
)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    operation_id="cancel_job",
    responses={200: {"model": JobDetail, "description": "cancelled"}, **refusals(CrossSite, NotFound, AlreadyFinished)},
)
def cancel_job(job_id: str, work: Work, response: Response) -> JobDetail:
    """Cancel a job: 200 if it is cancelled, 202 while its trainer stops, 409 if it has already ended otherwise."""
    job = service.cancel(work.session, job_id)
    if job.status == Status.CANCELLED:
        response.status_code = 200
    else:
        response.headers["Retry-After"] = POLL_SECONDS
    return JobDetail.of(job, [], warnings=warnings.of(work.session, job.id))
