"""Endpoints of studies."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from api.errors import (
    BadRequest,
    CrossSite,
    Gone,
    InUse,
    Invalid,
    NotEnded,
    NotFound,
    NothingToResume,
    NotReady,
    PathNotAllowed,
    QuotaExceeded,
    RangeNotSatisfiable,
    StorageFull,
    UnknownReference,
    UnusableReference,
)
from api.http.dependencies import (
    OF_JSON,
    IfNoneMatch,
    Work,
    changes_nothing,
    json_only,
    refusals,
    remove_after,
    room,
)
from api.http.idempotency import KEYED, OnceDep
from api.http.responses import Disposition
from api.http.routes import artifacts
from api.http.routes.jobs import POLL_SECONDS
from api.http.routing import Route
from api.jobs.schemas import JobDetail
from api.jobs.waiting import waiting_for
from api.pagination import After, Limit, Page
from api.studies import deletion, examples, service, validation
from api.studies.schemas import Extension, StudySummary, StudyView
from api.studies.validation import StudyValidation
from api.tables.studies import Study
from api.wake_ups import TRAIN
from rdrkd.run_folder.names import STUDY
from rdrkd.spec.study import Study as Spec

router = APIRouter(prefix="/studies", tags=["studies"], route_class=Route)

_BODY = (*OF_JSON, Invalid)
_FULL = (QuotaExceeded, StorageFull)
_SPEC = (*_BODY, PathNotAllowed, UnknownReference, UnusableReference)
FILES = {"html": "report.html", "markdown": "report.md", "csv": "members.csv", "json": STUDY}


@router.post(
    "",
    status_code=202,
    operation_id="create_study",
    dependencies=[Depends(json_only), Depends(room)],
    responses=refusals(*_SPEC, *KEYED[1:], *_FULL),
)
def create_study(
    spec: Annotated[Spec, Body(openapi_examples=examples.STUDIES)], once: OnceDep, work: Work, response: Response
) -> StudyView:
    """Submit a study: its teacher, then each method with each seed. The method `none` is the student alone."""
    study, rings = service.create(work.session, spec)
    view = _started(study, rings, work, response)
    once.keep(work.session, view, response)
    return view


@router.post(
    "/validate",
    operation_id="validate_study",
    dependencies=[Depends(json_only), Depends(changes_nothing)],
    responses=refusals(*_SPEC),
)
def validate_study(spec: Annotated[Spec, Body(openapi_examples=examples.STUDIES)], work: Work) -> StudyValidation:
    """Validate a study without submitting it: `POST /studies` would reject whatever is rejected here.

    Returns findings on dataset and models, the methods with their groups expanded, and the number of jobs.
    """
    return validation.validate(work.session, spec)


@router.get("", operation_id="list_studies", responses=refusals(Invalid))
def list_studies(
    work: Work, limit: Annotated[Limit, Query()] = 20, after: Annotated[After, Query()] = None
) -> Page[StudySummary]:
    """List studies, newest first."""
    rows, following = service.newest(work.session, limit, after)
    members = service.progress_of(work.session, rows)
    views = [StudySummary.of(study, members[study.id]) for study in rows]
    return Page(data=views, has_more=following is not None, next=following)


@router.get("/{study_id}", operation_id="get_study", responses=refusals(NotFound))
def get_study(study_id: str, work: Work) -> StudyView:
    """Return a study: every member with its job and progress, and an ETA."""
    return _view(service.get(work.session, study_id), work)


@router.post(
    "/{study_id}/extend",
    status_code=202,
    operation_id="extend_study",
    dependencies=[Depends(json_only), Depends(room)],
    responses=refusals(NotFound, *_BODY, UnknownReference, UnusableReference, *_FULL),
)
def extend_study(study_id: str, more: Extension, work: Work, response: Response) -> StudyView:
    """Add methods or seeds to a study: the missing members are queued, the existing ones stay."""
    study, rings = service.extend(work.session, study_id, more.methods, more.seeds)
    return _started(study, rings, work, response)


@router.post(
    "/{study_id}/resume",
    status_code=202,
    operation_id="resume_study",
    dependencies=[Depends(room)],
    responses=refusals(CrossSite, NotFound, NothingToResume, UnknownReference, UnusableReference, *_FULL),
)
def resume_study(study_id: str, work: Work, response: Response) -> StudyView:
    """Resume a study: each failed or cancelled job gets a successor that starts from its newest checkpoint."""
    study, rings = service.resume(work.session, study_id)
    return _started(study, rings, work, response)


@router.post(
    "/{study_id}/cancel", status_code=202, operation_id="cancel_study", responses=refusals(CrossSite, NotFound)
)
def cancel_study(study_id: str, work: Work) -> StudyView:
    """Cancel every job of a study that has not ended; `resume` restarts them."""
    return _view(service.cancel(work.session, study_id), work)


@router.delete(
    "/{study_id}",
    status_code=204,
    operation_id="delete_study",
    response_class=Response,
    responses={204: {"description": "deleted"}, **refusals(CrossSite, NotFound, NotEnded, InUse)},
)
def delete_study(study_id: str, request: Request, work: Work) -> Response:
    """Delete a study with its jobs, reports and files, unless one of its jobs is active or needed elsewhere.

    To keep a student, register it as a model first: `POST /v1/jobs/{id}/register`.
    """
    remove_after(request, work, deletion.delete_study(work.session, study_id))
    return Response(status_code=204)


@router.post(
    "/{study_id}/report",
    status_code=202,
    operation_id="draw_study_report",
    responses=refusals(CrossSite, NotFound, NotReady),
)
def draw_study_report(study_id: str, work: Work, response: Response) -> JobDetail:
    """Queue a report of the members that have succeeded so far. The final report is queued automatically."""
    job, rings = service.draw(work.session, study_id)
    for job_id in rings:
        work.ring(TRAIN, job_id)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = POLL_SECONDS
    return JobDetail.of(job, waiting_for(work.session, job, count=True), warnings=[])


@router.get(
    "/{study_id}/report",
    operation_id="get_study_report",
    response_class=Response,
    responses={
        **artifacts.ARTIFACT_RESPONSES,
        **refusals(BadRequest, NotFound, NotReady, Gone, RangeNotSatisfiable, Invalid),
    },
)
def get_study_report(
    study_id: str,
    work: Work,
    request: Request,
    format: Annotated[Literal["html", "markdown", "csv", "json"], Query(description="format of the report")] = "html",
    disposition: Annotated[Disposition, Query(description="`inline`: let a browser display it")] = "attachment",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download the newest report. Its plots are artifacts of the job that made it, which the study names."""
    job = service.report(work.session, study_id)
    return artifacts.get_job_artifact(job.id, FILES[format], work, request, disposition, if_none_match)


def _started(study: Study, rings: list[str], work: Work, response: Response) -> StudyView:
    for job_id in rings:
        work.ring(TRAIN, job_id)
    response.headers["Location"] = f"/v1/studies/{study.id}"
    response.headers["Retry-After"] = POLL_SECONDS
    return _view(study, work)


def _view(study: Study, work: Work) -> StudyView:
    members = service.members_of(work.session, study)
    return StudyView.whole(study, members, service.newest_report(work.session, study.id))
