"""Students to register, and models as their check leaves them."""

import io
from typing import Any

from api.jobs import lifecycle, upload_checks
from api.jobs.lifecycle import Ending
from api.tables.models import Model
from api.tables.states import Status
from tests.api.conftest import Service

RESOLVED = {"kind": "train", "provenance": {"dataset_sha256": "d" * 64, "model_sha256": {"teacher": "e" * 64}}}
RESULT = {"metrics": {"coco": {"AP": 12.5}}, "best_epoch": 3}


def student(service: Service, content: bytes = b"weights", **changes: Any) -> str:
    """Return a job that has succeeded and left weights, with what a run says of them."""
    job_id = service.job(**changes)
    held = service.bring(job_id, Status.RUNNING)
    with service.database.transaction() as session:
        lifecycle.record_resolved(session, held, RESOLVED)
    service.publish(held, 1, content, service.storage.root)
    service.finish(held, Ending(Status.SUCCEEDED, result=RESULT))
    return job_id


def register(service: Service, job_id: str, **body: Any) -> dict[str, Any]:
    answer = service.client.post(f"/v1/jobs/{job_id}/register", json=body)
    return dict(answer.raise_for_status().json())


def settle(service: Service, other: bytes | None = b"other format", *problems: str) -> None:
    """Check the oldest unchecked model as a worker does: with the other format, which the check has written."""
    written = None
    with service.database.transaction() as session:
        check = upload_checks.claim(session, "checker", 60)
        assert check is not None
        if other is not None and check.table is Model:
            suffix = ".safetensors" if check.key.endswith(".pt") else ".pt"
            written = service.storage.put(io.BytesIO(other), suffix)
        told = [{"where": "x", "detail": problem} for problem in problems]
        upload_checks.settle(session, check, {"names": ["car"]}, told, written=written)


def ready(service: Service, **body: Any) -> str:
    """Return a registered model that is ready."""
    model = register(service, student(service), **{"name": "n", **body})["id"]
    settle(service)
    return str(model)
