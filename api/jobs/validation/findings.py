"""Findings about a spec from the checks of its uploads, in the same words as its run would use."""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from api.jobs import input_checks, model_checks
from api.jobs.model_facts import card_of
from api.jobs.validation.schemas import Finding
from api.tables.datasets import Dataset
from api.tables.jobs import Job
from api.tables.models import Model
from api.tables.states import TERMINAL
from api.tables.uploads import UploadStatus
from rdrkd import run_warnings
from rdrkd.advice import imgsz_for
from rdrkd.spec import Architecture, Distill, JobOutput, JobSpec, ModelRef, RegisteredModel, Train

MOST_WARNINGS = 20  # warnings to show of the dataset's check


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
    if isinstance(spec, Distill):
        same = _weights(session, spec.student) == _weights(session, spec.teacher)
        for doubt in run_warnings.of_inputs(same and not isinstance(spec.student, Architecture)):
            yield Finding(level="warning", pointer="/student", detail=doubt.message)


def _weights(session: Session, reference: ModelRef) -> object:
    """Return what is equal for references to equal weights, as far as the service knows."""
    return session.get_one(Model, reference.model).sha256 if isinstance(reference, RegisteredModel) else reference


def _advice(session: Session, spec: JobSpec) -> Iterator[Finding]:
    """Yield suggestions: a larger input if the objects need one, and more steps if there are too few to learn."""
    if not isinstance(spec, Distill | Train):
        return
    report = session.get_one(Dataset, spec.dataset).report or {}
    split = report.get("statistics", {}).get("splits", {}).get("train", {})
    yield from _few_steps(spec, split.get("images", 0))
    fitting = imgsz_for(split, spec.train.imgsz)
    if fitting is not None and fitting.value > spec.train.imgsz:
        detail = f"{fitting.value} suits the objects better than {spec.train.imgsz}: {fitting.why}"
        yield Finding(level="advice", pointer="/train/imgsz", detail=detail)


def _few_steps(spec: Distill | Train, images: int) -> Iterator[Finding]:
    train, network = spec.train, spec.student if isinstance(spec, Distill) else spec.model
    if isinstance(network, Architecture):
        for warning in run_warnings.of_steps(train.epochs, train.batch, train.nbs, round(images * train.fraction)):
            yield Finding(level="advice", pointer="/train/epochs", detail=warning.message)


def _unknown(session: Session, spec: JobSpec) -> Iterator[Finding]:
    dataset = session.get_one(Dataset, spec.dataset)
    if dataset.status != UploadStatus.READY or dataset.report is None:
        detail = f"{dataset.id} is not checked yet: its classes are not known"
        yield Finding(level="unknown", pointer="/dataset", detail=detail)
    for field, reference in model_checks.with_weights(spec):
        if "names" not in (card_of(session, reference) or {}):
            detail = "its classes are not known yet: " + _why_unknown(session, reference)
            yield Finding(level="unknown", pointer=f"/{field}", detail=detail)


def _why_unknown(session: Session, reference: ModelRef) -> str:
    if isinstance(reference, JobOutput):
        source = session.get(Job, reference.job)
        if source is not None and source.status not in TERMINAL:
            return f"the job that trains it is {source.status}"
        return "its job has not handed back a model"
    return "the model is not checked"
