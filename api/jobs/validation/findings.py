"""What the checks of uploads and earlier jobs tell of a spec: the same sentences that its run would end with."""

from collections.abc import Iterator
from typing import Any, Literal

from sqlalchemy.orm import Session

from api.jobs import fitting
from api.jobs.validation.known import card_of, own_model, teacher_of
from api.jobs.validation.schemas import Finding
from api.tables.datasets import Dataset
from api.tables.uploads import UploadStatus
from rdrkd.spec import Architecture, Distill, Evaluate, Export, HeadTerm, JobSpec, Ultralytics

MOST_WARNINGS = 20  # of the dataset's check
FEW = 12  # class names that are shown


def findings(session: Session, spec: JobSpec) -> list[Finding]:
    """Return what is known of the dataset and the models, errors first."""
    dataset = session.get_one(Dataset, spec.dataset)
    names: list[str] | None = None
    found: list[Finding] = []
    if dataset.status == UploadStatus.READY and dataset.report is not None:
        names = dataset.report.get("names")
        found += _of_dataset(session, spec, dataset.report)
    else:
        found.append(_finding("unknown", "dataset", f"{dataset.id} is not checked yet: its classes are not known"))
    found += _of_models(session, spec, names)
    return sorted(found, key=lambda finding: ("error", "warning", "unknown").index(finding.level))


def _of_dataset(session: Session, spec: JobSpec, report: dict[str, Any]) -> Iterator[Finding]:
    for problem in fitting.faults(session, spec):
        yield _finding("error", problem.where.removeprefix("/"), problem.detail)
    for warning in report.get("warnings", [])[:MOST_WARNINGS]:
        yield _finding("warning", "dataset", str(warning))


def _of_models(session: Session, spec: JobSpec, names: list[str] | None) -> Iterator[Finding]:
    """Compare the models that bring weights with the dataset, and a pair with its terms."""
    teacher = teacher_of(spec)
    own = own_model(spec) if isinstance(spec, Evaluate | Export) else None
    for field, reference in (("teacher", teacher), ("model", own)):
        if reference is None:
            continue
        card = card_of(session, reference)
        if card is None or "names" not in card:
            yield _finding("unknown", field, "the model is not there or not checked yet: its classes are not known")
        elif names is not None and not _single_class(spec) and list(card["names"]) != names:
            detail = f"expected a model of the dataset's classes {_few(names)}, got {_few(card['names'])}"
            yield _finding("error", field, detail)
    if isinstance(spec, Distill):
        yield from _of_pair(spec, names, card_of(session, spec.teacher) or {}, _student(session, spec))


def _student(session: Session, spec: Distill) -> dict[str, Any]:
    return {} if isinstance(spec.student, Architecture) else card_of(session, spec.student) or {}


def _of_pair(
    spec: Distill, names: list[str] | None, teacher: dict[str, Any], student: dict[str, Any]
) -> Iterator[Finding]:
    """Return what the terms need and the pair has not; of a student that is an architecture alone the run finds out."""
    terms = spec.distillation.recipe.terms
    own, others = student.get("strides"), teacher.get("strides")
    if own and spec.train.imgsz % int(max(own)):
        detail = f"expected a multiple of the student's stride {int(max(own))}, got {spec.train.imgsz}"
        yield _finding("error", "train/imgsz", detail)
    if own and others and own != others and any(isinstance(term, HeadTerm) for term in terms):
        yield _finding("error", "student", f"expected the teacher's head strides {others}, got {own}")
    for term in terms:
        where = f"distillation/losses/{term.name}"
        classes = 1 if spec.train.single_cls else len(names or [])
        if isinstance(term, HeadTerm) and names is not None and classes < term.least_classes:
            detail = f"expected at least {term.least_classes} classes for a softmax, got {classes}"
            yield _finding("error", where, detail)
        if (
            isinstance(term, HeadTerm)
            and term.needs_distribution
            and 1 in (teacher.get("reg_max"), student.get("reg_max"))
        ):
            yield _finding(
                "error", where, "expected heads that predict distributions (reg_max > 1), got one that does not"
            )
        if isinstance(term, Ultralytics) and others and (missing := sorted(set(term.levels) - set(others))):
            detail = f"expected levels of the teacher's head, strides {others}, got also {missing}"
            yield _finding("error", f"{where}/levels", detail)


def _single_class(spec: JobSpec) -> bool:
    return not isinstance(spec, Evaluate | Export) and spec.train.single_cls


def _few(names: list[str]) -> str:
    return str(names) if len(names) <= FEW else f"{names[:FEW]} and {len(names) - FEW} more"


def _finding(level: Literal["error", "warning", "unknown"], where: str, detail: str) -> Finding:
    return Finding(level=level, pointer=f"#/{where}", detail=detail)
