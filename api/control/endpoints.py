"""The addresses by which the owner controls a job that is there."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from api.control import deletion, service
from api.control.schemas import Retry
from api.dependencies import Work, json_or_nothing, refusals, remove_after
from api.errors import (
    BadRequest,
    CrossSite,
    InUse,
    Invalid,
    MalformedJson,
    NotEnded,
    NotFound,
    NotRetryable,
    TooLarge,
    UnsupportedMediaType,
)
from api.idempotency.once import KEYED, OnceDep
from api.jobs import warnings
from api.jobs.endpoints import POLL_SECONDS
from api.jobs.schemas import JobDetail
from api.jobs.tables import Job
from api.jobs.waiting import waiting_for
from api.queue import TRAIN

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])

_BODY = (BadRequest, MalformedJson, CrossSite, TooLarge, UnsupportedMediaType)


@router.post(
    "/retry",
    status_code=202,
    operation_id="retry_job",
    dependencies=[Depends(json_or_nothing)],
    responses=refusals(*_BODY, *KEYED, NotFound, NotRetryable),
)
def retry(
    job_id: str, once: OnceDep, work: Work, response: Response, body: Annotated[Retry | None, Body()] = None
) -> JobDetail:
    """Let a job that has failed or was cancelled go on, with a new attempt and its lost workers forgotten.

    `earlier` then has how it ended. Jobs that failed because they waited for it are not revived: retry them, too.
    """
    job = service.retry(work.session, job_id, scratch=(body or Retry()).start == "scratch")
    view = _queued(job, work, response)
    once.keep(work.session, view, response)
    return view


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
def delete(
    job_id: str,
    request: Request,
    work: Work,
    keep: Annotated[Literal["weights"] | None, Query(description="`weights`: of it and its files these stay")] = None,
) -> Response:
    """Delete a job that has ended, with its history and files; not while a study or another job needs it.

    With `keep=weights` the job and its newest weights stay, and everything else goes.
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
