"""Check a spec against the reports of its models: classes match the dataset's, and each pair suits its terms."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from api.jobs.model_facts import card_of, teacher_of
from rdrkd import pretrained
from rdrkd.errors import Problem
from rdrkd.figures import few
from rdrkd.spec import Architecture, Distill, Evaluate, Export, HeadTerm, JobSpec, ModelRef, Ultralytics


def faults(session: Session, spec: JobSpec, names: list[str] | None) -> Iterator[Problem]:
    """Yield a problem for each field of the spec that is at fault; the run checks what is not known yet.

    Args:
        session: the caller's transaction.
        spec: the job's specification.
        names: the dataset's classes; None before its check.
    """
    for field, reference in with_weights(spec):
        card = card_of(session, reference) or {}
        if names is not None and "names" in card and not _single_class(spec) and list(card["names"]) != names:
            detail = f"expected a model of the dataset's classes {few(names)}, got {few(card['names'])}"
            advice = f"; {pretrained.ADVICE}" if len(card["names"]) == pretrained.CLASSES else ""
            yield Problem(f"/{field}", detail + advice)
    if isinstance(spec, Distill):
        student = {} if isinstance(spec.student, Architecture) else card_of(session, spec.student) or {}
        yield from _of_pair(spec, names, card_of(session, spec.teacher) or {}, student)


def with_weights(spec: JobSpec) -> list[tuple[str, ModelRef]]:
    """Return the models that have weights, and therefore classes, by field."""
    fields = {"teacher": teacher_of(spec), "model": spec.model if isinstance(spec, Evaluate | Export) else None}
    return [(field, reference) for field, reference in fields.items() if reference is not None]


def _of_pair(
    spec: Distill, names: list[str] | None, teacher: dict[str, Any], student: dict[str, Any]
) -> Iterator[Problem]:
    """Yield a problem for each unmet requirement of the terms on the pair; the run checks new architectures."""
    terms = spec.distillation.recipe.terms
    own, others = student.get("strides"), teacher.get("strides")
    if own and spec.train.imgsz % int(max(own)):
        detail = f"expected a multiple of the student's stride {int(max(own))}, got {spec.train.imgsz}"
        yield Problem("/train/imgsz", detail)
    if own and others and own != others and any(isinstance(term, HeadTerm) for term in terms):
        yield Problem("/student", f"expected the teacher's head strides {others}, got {own}")
    bins = (teacher.get("reg_max"), student.get("reg_max"))
    for term in terms:
        where = f"/distillation/losses/{term.name}"
        classes = 1 if spec.train.single_cls else len(names or [])
        if isinstance(term, HeadTerm) and names is not None and classes < term.least_classes:
            yield Problem(where, f"expected at least {term.least_classes} classes for a softmax, got {classes}")
        if isinstance(term, HeadTerm) and term.needs_distribution and 1 in bins:
            yield Problem(where, "expected heads that predict distributions (reg_max > 1), got one that does not")
        if isinstance(term, Ultralytics) and others and (missing := sorted(set(term.levels) - set(others))):
            detail = f"expected levels of the teacher's head, strides {others}, got also {missing}"
            yield Problem(f"{where}/levels", detail)


def _single_class(spec: JobSpec) -> bool:
    return not isinstance(spec, Evaluate | Export) and spec.train.single_cls
