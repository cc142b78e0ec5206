"""Notes that `rdrkd jobs` adds: the detail of an event, the reason for missing output, the epoch of weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdrkd.cli.epoch_words import cell_of

if TYPE_CHECKING:
    from rdrkd.client import Client, Job

_WEIGHTS = "student.pt"


def detail_of(event: Mapping[str, Any]) -> str | None:
    """Return an event's detail for a table; None if it has none.

    >>> detail_of({"type": "status", "data": {"to": "failed", "reason": "disk_full"}})
    'failed: disk_full'
    >>> detail_of({"type": "warning", "data": {"message": "few images"}}), detail_of({"type": "resolved", "data": {}})
    ('few images', None)
    """
    data = event["data"]
    match event["type"]:
        case "status":
            return ": ".join(str(part) for part in (data.get("to"), data.get("reason")) if part)
        case "warning":
            return str(data.get("message") or data.get("code") or "")
        case "epoch":
            return cell_of(data)
        case "artifact":
            return str(data.get("name"))
    return None


def why_silent(job: "Job") -> str | None:
    """Return why a job's trainers have printed nothing; None if there is no reason to tell."""
    if job.reason is not None:
        return (
            f"no trainer has run: {job.reason}: {job.message}" if job.message else f"no trainer has run: {job.reason}"
        )
    return None if job.ended else f"no output yet: the job is {job.status}"


def unfinished(service: "Client", job_id: str) -> str | None:
    """Return a note on the epoch of an unfinished job's newest weights; None if the job has ended."""
    job = service.job(job_id)
    found = [artifact for artifact in service.artifacts(job.id) if artifact.name == _WEIGHTS]
    if job.ended or not found:
        return None
    return f"from epoch {found[0].part_epoch} of {found[0].part_epochs}: the job is still {job.status}"
