"""The address of a job's metrics."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import Work, refusals
from api.errors import Invalid, NotFound
from api.metrics import service
from api.metrics.schemas import JobMetrics, as_csv
from api.routing import Route
from api.streams import JSON, accepted

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=Route)

CSV = "text/csv"
NAME = r"^(lr|seconds|(metrics|losses|weights|diagnostics)(/[^\x00]{1,200})?)$"
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
def metrics(
    job_id: str,
    request: Request,
    work: Work,
    name: Annotated[
        list[Name], Query(description="only these series, `losses/decoupled`, or all of a kind, `losses`; several")
    ] = [],  # noqa: B006
    from_epoch: Annotated[int, Query(ge=1, le=2**31 - 1, description="the first epoch to read")] = 1,
    downsample: Annotated[
        int | None,
        Query(ge=2, le=10_000, description="epochs at most: first, last, extremes of each series, others evenly"),
    ] = None,
    format: Annotated[
        Literal["rows", "columns", "csv"] | None,
        Query(description="without it `rows`, or CSV where the Accept header asks for text/csv"),
    ] = None,
) -> JobMetrics | Response:
    """Read every finished epoch: each loss term, learning rate, validation figures in percent."""
    rows = service.epochs(work.session, job_id, name, from_epoch, downsample)
    if format == "csv" or (format is None and accepted(request, JSON, CSV) == CSV):
        headers = {"Content-Disposition": f'attachment; filename="{job_id}-metrics.csv"'}
        return Response(as_csv(service.columns(rows)), media_type=CSV, headers=headers)
    return JobMetrics(data=service.columns(rows) if format == "columns" else rows)
