"""Validation of a study: whether it would be accepted, and how many jobs it would have. Nothing is changed."""

from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from api.jobs import service as jobs
from api.jobs.validation.findings import findings
from api.jobs.validation.schemas import Finding
from api.studies import service
from rdrkd.spec import JOB_SPEC
from rdrkd.spec.study import Study
from rdrkd.study.members import job_spec, teacher_spec


class StudyValidation(BaseModel):
    """The result of validating a study; nothing is queued."""

    object: Literal["study_validation"] = "study_validation"
    ok: bool = Field(description="whether `POST /studies` would accept it, as far as known")
    findings: list[Finding]
    methods: list[str] = Field(description="names of all methods, groups expanded")
    jobs: int = Field(description="number of jobs, including the teacher's if the study trains one, without the report")
    resolved_spec: dict[str, Any] = Field(description="spec with every default filled in")


def validate(session: Session, spec: Study) -> StudyValidation:
    """Check a study as `create` would, and return findings about its dataset and models.

    Raises:
        Invalid: it has too many members.
        PathNotAllowed, UnknownReference, UnusableReference: as for a job.
    """
    spec = jobs.with_ids(session, spec)
    service.check_references(session, spec)
    faults = dict.fromkeys(service.faults(session, spec))
    found = [Finding(level="error", pointer=fault.where, detail=fault.detail) for fault in faults]
    methods = [method.name for method in spec.each_method]
    return StudyValidation(
        ok=not found,
        findings=[*found, *_known(session, spec)],
        methods=methods,
        jobs=len(methods) * len(spec.seeds) + (teacher_spec(spec) is not None),
        resolved_spec=spec.model_dump(mode="json"),
    )


def _known(session: Session, spec: Study) -> list[Finding]:
    """Return the findings other than errors about the dataset and the models of one run of the study."""
    trained = teacher_spec(spec)
    content = trained or job_spec(spec, spec.each_method[0], spec.seeds[0], spec.teacher.model.model_dump(mode="json"))
    return [
        finding.model_copy(update={"pointer": service.FIELDS.get(finding.pointer, finding.pointer)})
        for finding in findings(session, JOB_SPEC.validate_python(content))
        if finding.level != "error"
    ]
