"""The addresses of a job's files."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from api.artifacts import service
from api.dependencies import IfNoneMatch, StorageDep, Work, refusals
from api.errors import BadRequest, Gone, Invalid, NotFound, NotReady, RangeNotSatisfiable
from api.jobs.tables import Artifact, Job
from api.responses import ContentResponse, content_etag, not_modified, plain_name
from api.storage import Storage

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])

CONTENT = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "the whole file", **CONTENT},
    206: {"description": "the asked range", **CONTENT},
    304: {"description": "the client has this version"},
    **refusals(BadRequest, NotFound, NotReady, Gone, RangeNotSatisfiable, Invalid),
}


@router.head("/weights", operation_id="head_job_weights", response_class=Response, responses=FILE_RESPONSES)
@router.get("/weights", operation_id="get_job_weights", response_class=Response, responses=FILE_RESPONSES)
def weights(
    job_id: str,
    work: Work,
    store: StorageDep,
    format: Annotated[Literal["pt", "safetensors"], Query(description="file format")] = "pt",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download the student's newest weights: from the first checkpoint on, in every state. Takes ranges and HEAD."""
    job, found = service.weights(work.session, job_id, f"student.{format}")
    return _file(job, found, store, if_none_match)


def _file(job: Job, artifact: Artifact, store: Storage, if_none_match: str | None) -> Response:
    """Hand out a stored file, or say that the client has it or that it is gone."""
    if (unchanged := not_modified(if_none_match, content_etag(artifact.sha256))) is not None:
        return unchanged
    path = store.path(artifact.key)
    if not path.is_file():
        raise Gone(f"expected {artifact.name} in the file store, got nothing there: it was removed")
    return ContentResponse(path, artifact.sha256, f"{plain_name(job.name or '') or job.id}-{artifact.name}")
