"""What is known of a spec before it is queued. Functions take the request's session and change nothing."""

from sqlalchemy.orm import Session

from api.jobs import service as jobs
from api.jobs.validation.estimates import estimate
from api.jobs.validation.findings import findings
from api.jobs.validation.schemas import Validation
from rdrkd.spec import JobSpec, references
from rdrkd.spec.resolved import with_defaults


def validate(session: Session, spec: JobSpec) -> Validation:
    """Check a spec as `create` would, and say what else is known of it.

    Raises:
        PathNotAllowed, UnknownReference, UnusableReference, Invalid: as for a job.
    """
    spec = jobs.with_ids(session, spec)
    jobs.check_references(session, spec.dataset, references(spec))
    jobs.check_deadline(session, spec.deadline)
    jobs.check_workers(session, spec)
    found = findings(session, spec)
    return Validation(
        ok=all(finding.level != "error" for finding in found),
        findings=found,
        resolved_spec=with_defaults(spec),
        estimate=estimate(session, spec),
    )
