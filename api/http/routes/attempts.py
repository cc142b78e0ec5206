"""Endpoints of a job's attempts and checkpoints."""

from fastapi import APIRouter

from api.errors import NotFound
from api.http.dependencies import Work, refusals
from api.http.routing import Route
from api.jobs import service as jobs
from api.jobs.attempts import service
from api.jobs.attempts.schemas import Attempts, AttemptView, Checkpoints, CheckpointView

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=Route)


@router.get("/attempts", operation_id="list_job_attempts", responses=refusals(NotFound))
def list_job_attempts(job_id: str, work: Work) -> Attempts:
    """List a job's attempts: which worker ran each, when, and how it ended, lost workers included."""
    jobs.get(work.session, job_id)
    return Attempts(data=[AttemptView.model_validate(row) for row in service.of(work.session, job_id)])


@router.get("/checkpoints", operation_id="list_job_checkpoints", responses=refusals(NotFound))
def list_job_checkpoints(job_id: str, work: Work) -> Checkpoints:
    """List the stored checkpoints, newest first: epoch, metrics, files with sizes and hashes."""
    spec = jobs.get(work.session, job_id).spec
    return Checkpoints(data=[CheckpointView.of(kept, spec) for kept in service.checkpoints(work.session, job_id)])
