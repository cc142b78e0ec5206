"""Findings about a spec from the checks of its uploads, in the same words as its run would use."""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from api.jobs import input_checks, model_checks
from api.jobs.model_facts import card_of
from api.jobs.validation.schemas import Finding
from api.tables.datasets import Dataset
from api.tables.uploads import UploadStatus
from rdrkd.advice import imgsz_for
from rdrkd.spec import Distill, JobSpec, Train

MOST_WARNINGS = 20  # of the dataset's check


def findings(session: Session, spec: JobSpec) -> list[Finding]:
    """Return findings about the dataset and the models, first those for which `POST /v1/jobs` rejects the spec."""
    errors = [
        Finding(level="error", pointer=problem.where, detail=problem.detail)
        for problem in input_checks.faults(session, spec)
    ]
    return [*errors, *_warnings(session, spec), *_advice(session, spec), *_unknown(session, spec)]


def _warnings(session: Session, spec: JobSpec) -> Iterator[Finding]:
    report = session.get_one(Dataset, spec.dataset).report or {}
    for warning in report.get("warnings", [])[:MOST_WARNINGS]:
        yield Finding(level="warning", pointer="/dataset", detail=str(warning))


def _advice(session: Session, spec: JobSpec) -> Iterator[Finding]:
    """Yield a suggestion of a larger input if the objects need one; the estimate has time and memory."""
    if not isinstance(spec, Distill | Train):
        return
    report = session.get_one(Dataset, spec.dataset).report or {}
    fitting = imgsz_for(report.get("statistics", {}).get("splits", {}).get("train", {}))
    if fitting is not None and fitting.value > spec.train.imgsz:
        detail = f"{fitting.value} suits the objects better than {spec.train.imgsz}: {fitting.why}"
        yield Finding(level="advice", pointer="/train/imgsz", detail=detail)


def _unknown(session: Session, spec: JobSpec) -> Iterator[Finding]:
    dataset = session.get_one(Dataset, spec.dataset)
    if dataset.status != UploadStatus.READY or dataset.report is None:
        detail = f"{dataset.id} is not checked yet: its classes are not known"
        yield Finding(level="unknown", pointer="/dataset", detail=detail)
    for field, reference in model_checks.with_weights(spec):
        if "names" not in (card_of(session, reference) or {}):
            detail = "the model is not there or not checked yet: its classes are not known"
            yield Finding(level="unknown", pointer=f"/{field}", detail=detail)
