"""Endpoint of a job's metrics."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from api.errors import Invalid, NotFound
from api.http.dependencies import Work, refusals
from api.http.routing import Route
from api.http.streams import JSON, accepted
from api.jobs.metrics import service
from api.jobs.metrics.schemas import JobMetrics, as_csv
from rdrkd.epochs import Part
from rdrkd.spec.forms import form

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=Route)

CSV = "text/csv"
NAME = form(
    r"^(lr|seconds|(metrics|losses|weights|diagnostics)(/[^\x00]{1,200})?)$",
    "`lr`, `seconds`, or `metrics`, `losses`, `weights` or `diagnostics`, alone or with `/<name>`",
)
Name = Annotated[str, Query(pattern=NAME)]
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}, "description": "the epochs that have been trained by now"}
}


@router.get(
    "/metrics",
    operation_id="get_job_metrics",
    response_model=JobMetrics,
    responses={**RESPONSES, **refusals(NotFound, Invalid)},
)
def get_job_metrics(
    job_id: str,
    request: Request,
    work: Work,
    name: Annotated[
        list[Name],
        Query(
            description="series to include, such as `losses/decoupled`, or a group, such as `losses`; may be repeated"
        ),
    ] = [],  # noqa: B006
    part: Annotated[
        Part | None,
        Query(description="whose epochs: `student`, or `alone`, the student without its teacher; default: both"),
    ] = None,
    from_epoch: Annotated[
        int, Query(ge=1, le=2**31 - 1, description="first epoch to include, counted through both trainings")
    ] = 1,
    downsample: Annotated[
        int | None,
        Query(
            ge=2,
            le=10_000,
            description="most epochs to return: the first, the last, each series' extremes, others evenly spaced",
        ),
    ] = None,
    format: Annotated[
        Literal["rows", "columns", "csv"] | None,
        Query(description="default: `rows`, or CSV if the Accept header is text/csv"),
    ] = None,
) -> JobMetrics | Response:
    """Return the metrics of every finished epoch: each loss term, learning rates, validation metrics in percent."""
    rows = service.epochs(work.session, job_id, name, from_epoch, downsample, part)
    if format == "csv" or (format is None and accepted(request, JSON, CSV) == CSV):
        headers = {"Content-Disposition": f'attachment; filename="{job_id}-metrics.csv"'}
        return Response(as_csv(service.columns(rows)), media_type=CSV, headers=headers)
    return JobMetrics(data=service.columns(rows) if format == "columns" else rows)
