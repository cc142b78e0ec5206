"""Endpoint that validates a job without creating it."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends

from api.errors import (
    Invalid,
    PathNotAllowed,
    UnknownReference,
    UnusableReference,
)
from api.http.dependencies import OF_JSON, Work, changes_nothing, json_only, refusals
from api.http.routing import Route
from api.jobs import examples
from api.jobs.validation import service
from api.jobs.validation.schemas import Validation
from rdrkd.spec import JobSpec

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=Route)

_BODY = (*OF_JSON, Invalid)


@router.post(
    "/validate",
    operation_id="validate_job",
    dependencies=[Depends(json_only), Depends(changes_nothing)],
    responses=refusals(*_BODY, PathNotAllowed, UnknownReference, UnusableReference),
)
def validate_job(spec: Annotated[JobSpec, Body(openapi_examples=examples.JOBS)], work: Work) -> Validation:
    """Validate a job without submitting it: `POST /jobs` would reject whatever is rejected here.

    Returns the spec with every default filled in, findings on dataset and models, and an estimate from earlier jobs.
    """
    return service.validate(work.session, spec)
