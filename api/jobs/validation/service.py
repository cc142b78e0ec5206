"""Validate a spec without queueing it. Functions take the request's session and change nothing."""

from sqlalchemy.orm import Session

from api.jobs import service as jobs
from api.jobs.validation.estimates import estimate
from api.jobs.validation.findings import findings
from api.jobs.validation.schemas import Finding, Validation
from rdrkd.spec import JobSpec, references
from rdrkd.spec.resolved import with_defaults


def validate(session: Session, spec: JobSpec) -> Validation:
    """Check a spec as `create` would, and return findings and an estimate.

    Raises:
        PathNotAllowed, UnknownReference, UnusableReference, Invalid: as for a job.
    """
    spec = jobs.with_ids(session, spec)
    jobs.check_references(session, spec.dataset, references(spec))
    jobs.check_deadline(session, spec.deadline)
    jobs.check_workers(session, spec)
    found, expected = findings(session, spec), estimate(session, spec)
    if spec.timeout_seconds and expected.seconds is not None and expected.seconds > spec.timeout_seconds:
        detail = f"an attempt is stopped after {spec.timeout_seconds} s, but may take {expected.seconds:.0f} s"
        found.append(Finding(level="warning", pointer="/timeout_seconds", detail=detail))
    return Validation(
        ok=all(finding.level != "error" for finding in found),
        findings=found,
        resolved_spec=with_defaults(spec),
        estimate=expected,
    )
