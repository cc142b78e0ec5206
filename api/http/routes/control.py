"""Endpoints that cancel, pause, resume, retry or delete a job."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response

from api.errors import (
    CrossSite,
    IfMatchMissing,
    InUse,
    Invalid,
    NotChangeable,
    NotEnded,
    NotFound,
    NotPausable,
    NotPaused,
    NotRetryable,
    PreconditionFailed,
    QuotaExceeded,
    StorageFull,
)
from api.http.dependencies import OF_JSON, Work, json_only, json_or_nothing, refusals, remove_after, room
from api.http.idempotency import KEYED, OnceDep
from api.http.routes.jobs import POLL_SECONDS
from api.http.routes.polling import etag_of
from api.http.routing import Route
from api.jobs import warnings
from api.jobs.control import deletion, service
from api.jobs.control.schemas import Change, Pause, Retry
from api.jobs.schemas import JobDetail
from api.jobs.waiting import waiting_for
from api.tables.jobs import Job
from api.tables.states import Status
from api.wake_ups import TRAIN

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=Route)


@router.patch(
    "",
    operation_id="change_job",
    dependencies=[Depends(json_only)],
    responses=refusals(*OF_JSON, IfMatchMissing, Invalid, NotFound, PreconditionFailed, NotChangeable),
)
def change_job(
    job_id: str,
    wanted: Change,
    work: Work,
    response: Response,
    if_match: Annotated[
        str | None, Header(description="ETag of the job as the client knows it; `*`: any version")
    ] = None,
) -> JobDetail:
    """Change a job's name, labels, priority, timeout or deadline. Fields that are left out keep their values."""
    job = service.change(work.session, job_id, wanted, if_match)
    view = _view(job, work)
    response.headers["ETag"] = etag_of(job.version, view.waiting_for)
    return view


@router.post(
    "/retry",
    status_code=202,
    operation_id="retry_job",
    dependencies=[Depends(json_or_nothing), Depends(room)],
    responses=refusals(*OF_JSON, *KEYED, NotFound, NotRetryable, QuotaExceeded, StorageFull),
)
def retry_job(
    job_id: str, once: OnceDep, work: Work, response: Response, body: Annotated[Retry | None, Body()] = None
) -> JobDetail:
    """Retry a failed or cancelled job in a new attempt; its count of lost workers restarts.

    `earlier` then records how it had ended. Jobs that failed because they waited for it must be retried separately.
    """
    job = service.retry(work.session, job_id, scratch=(body or Retry()).start == "scratch")
    view = _queued(job, work, response)
    once.keep(work.session, view, response)
    return view


@router.post(
    "/pause",
    status_code=202,
    operation_id="pause_job",
    dependencies=[Depends(json_or_nothing)],
    responses={
        200: {"model": JobDetail, "description": "paused"},
        **refusals(*OF_JSON, Invalid, NotFound, NotPausable),
    },
)
def pause_job(job_id: str, work: Work, response: Response, body: Annotated[Pause | None, Body()] = None) -> JobDetail:
    """Pause a job: 200 if it is paused, 202 while its trainer stops. A paused job holds no worker and no lease.

    Jobs without epochs (`evaluate`, `export`, `compare`) always stop at once. `latest` may follow a
    `save` that takes long.
    """
    job = service.pause(work.session, job_id, (body or Pause()).checkpoint)
    if job.status == Status.PAUSED:
        response.status_code = 200
    else:
        response.headers["Retry-After"] = POLL_SECONDS
    return _view(job, work)


@router.post(
    "/resume",
    status_code=202,
    operation_id="resume_job",
    dependencies=[Depends(room)],
    responses=refusals(CrossSite, NotFound, NotPaused, QuotaExceeded, StorageFull),
)
def resume_job(job_id: str, work: Work, response: Response) -> JobDetail:
    """Resume a paused job from its newest checkpoint."""
    return _queued(service.resume(work.session, job_id), work, response)


@router.delete(
    "",
    status_code=204,
    operation_id="delete_job",
    response_class=Response,
    responses={
        200: {"model": JobDetail, "description": "the job with its weights alone"},
        204: {"description": "deleted"},
        **refusals(CrossSite, NotFound, NotEnded, InUse, Invalid),
    },
)
def delete_job(
    job_id: str,
    request: Request,
    work: Work,
    keep: Annotated[
        Literal["weights"] | None, Query(description="`weights`: keep the job and its newest weights")
    ] = None,
) -> Response:
    """Delete an ended or paused job with its history and files, unless a study or another job needs it.

    With `keep=weights`, the job and its newest weights remain, and a paused job becomes cancelled.
    """
    if keep is None:
        remove_after(request, work, deletion.delete_job(work.session, job_id))
        return Response(status_code=204)
    job, notes = deletion.strip_job(work.session, job_id)
    remove_after(request, work, notes)
    return Response(_view(job, work).model_dump_json(), 200, media_type="application/json")


def _queued(job: Job, work: Work, response: Response) -> JobDetail:
    work.ring(TRAIN, job.id)
    view = _view(job, work)
    response.headers["Location"] = view.links.self
    response.headers["Retry-After"] = POLL_SECONDS
    return view


def _view(job: Job, work: Work) -> JobDetail:
    waiting = waiting_for(work.session, job, count=True)
    return JobDetail.of(job, waiting, warnings=warnings.of(work.session, job.id))
