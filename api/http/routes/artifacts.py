"""Endpoints of a job's files."""

import hashlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from api.errors import BadRequest, Gone, Invalid, NotFound, NotReady, RangeNotSatisfiable
from api.http.dependencies import IfNoneMatch, Work, refusals
from api.http.downloads import Download, hand_out
from api.http.responses import Disposition, not_modified, plain_name
from api.http.routing import Route
from api.jobs.artifacts import service
from api.jobs.artifacts.schemas import Artifacts, ArtifactView
from api.storage.media import MEDIA_TYPES, OPAQUE, guards, media_type
from api.tables.jobs import Artifact, Job

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=Route)

BYTES = {"schema": {"type": "string", "format": "binary"}}


def _file_responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    content = {"content": dict.fromkeys(media_types, BYTES)}
    return {
        200: {"description": "the whole file", **content},
        206: {"description": "the requested range", **content},
        304: {"description": "the client has this version"},
        307: {"description": "redirect to a presigned URL of the bucket, valid for a short time"},
        **refusals(BadRequest, NotFound, NotReady, Gone, RangeNotSatisfiable, Invalid),
    }


WEIGHTS_RESPONSES = _file_responses(OPAQUE)
ARTIFACT_RESPONSES = _file_responses(OPAQUE, *(kind.partition(";")[0] for kind in MEDIA_TYPES.values()))


@router.head("/weights", operation_id="head_job_weights", response_class=Response, responses=WEIGHTS_RESPONSES)
@router.get("/weights", operation_id="get_job_weights", response_class=Response, responses=WEIGHTS_RESPONSES)
def get_job_weights(
    job_id: str,
    work: Work,
    request: Request,
    format: Annotated[Literal["pt", "safetensors"], Query(description="file format")] = "pt",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download the student's newest weights, in every state from the first checkpoint on. Supports ranges and HEAD.

    If files are stored in a bucket, the response redirects to a presigned URL, which needs no key: do not send it one.
    """
    job, found = service.weights(work.session, job_id, f"student.{format}")
    return _file(job, found, request, if_none_match)


@router.get(
    "/artifacts",
    operation_id="list_job_artifacts",
    response_model=Artifacts,
    responses={304: {"description": "the client's copy is current"}, **refusals(NotFound)},
)
def list_job_artifacts(
    job_id: str, work: Work, response: Response, if_none_match: IfNoneMatch = None
) -> Artifacts | Response:
    """List the newest version of each artifact of a job: weights, history, warnings, report, result.

    The list is empty before the first checkpoint; some artifacts are published only when the job ends.
    """
    job, files = service.newest(work.session, job_id)
    # Rows are replaced, never changed: their ids are the version.
    etag = f'W/"{hashlib.sha256("".join(file.id for file in files).encode()).hexdigest()[:16]}"'
    if (unchanged := not_modified(if_none_match, etag)) is not None:
        return unchanged
    response.headers["ETag"] = etag
    return Artifacts(data=[ArtifactView.of(file, job.spec) for file in files])


@router.head(
    "/artifacts/{name}", operation_id="head_job_artifact", response_class=Response, responses=ARTIFACT_RESPONSES
)
@router.get("/artifacts/{name}", operation_id="get_job_artifact", response_class=Response, responses=ARTIFACT_RESPONSES)
def get_job_artifact(
    job_id: str,
    name: Annotated[str, Path(description="name from the list of artifacts", examples=["report.html"])],
    work: Work,
    request: Request,
    disposition: Annotated[Disposition, Query(description="`inline`: let a browser display it")] = "attachment",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download the newest version of an artifact, in every state. Supports ranges and HEAD; HTML is sandboxed."""
    job, found = service.named(work.session, job_id, name)
    return _file(job, found, request, if_none_match, disposition)


def _file(
    job: Job, row: Artifact, request: Request, if_none_match: str | None, disposition: Disposition = "attachment"
) -> Response:
    """Return a stored file, a 304 if the client has it, or a 410 if it is gone."""
    filename = f"{plain_name(job.name or '') or job.id}-{row.name}"
    file = Download(row.key, row.sha256, row.size, row.created_at, filename, media_type(row.name), disposition)
    return hand_out(request, file, if_none_match, guards(row.name))
