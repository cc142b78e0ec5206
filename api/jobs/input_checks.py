"""Check a spec against the reports of its dataset and models, for faults that would make its run fail."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from api.errors import Invalid
from api.jobs import model_checks
from api.tables.datasets import Dataset
from api.tables.models import Model
from api.tables.uploads import UploadStatus
from rdrkd.errors import Problem
from rdrkd.spec import Distill, Evaluate, Export, JobSpec, RegisteredModel, Train


def check(session: Session, spec: JobSpec) -> None:
    """Reject a job that cannot run; uploads that have not been checked yet are left to the run.

    Raises:
        Invalid: the dataset lacks a split, a model has different classes, or the settings do not fit.
    """
    if problems := list(faults(session, spec)):
        raise Invalid.at(*problems)


def faults(session: Session, spec: JobSpec) -> Iterator[Problem]:
    """Yield a problem for each field of the spec that is at fault."""
    dataset = session.get_one(Dataset, spec.dataset)
    report: dict[str, Any] = (dataset.report if dataset.status == UploadStatus.READY else None) or {}
    splits: dict[str, dict[str, Any]] = report.get("statistics", {}).get("splits", {})
    wanted, where = _splits(spec)
    for split in wanted if splits else ():
        if split not in splits:
            came = ", ".join(sorted(splits))
            yield Problem(where, f"expected a dataset with a split {split}, got one with {came}")
    yield from model_checks.faults(session, spec, report.get("names"))
    if not isinstance(spec, Distill | Train):
        return
    images = splits.get("train", {}).get("images")
    if images and (detail := spec.train.lone_image(images)) is not None:
        yield Problem("/train/imgsz", detail)
    student = spec.student if isinstance(spec, Distill) else spec.model
    model = session.get(Model, student.model) if isinstance(student, RegisteredModel) else None
    layers = (model.report or {}).get("layers") if model is not None else None
    if layers is not None and (detail := spec.train.freezes_all(layers)) is not None:
        yield Problem("/train/freeze", detail)


def _splits(spec: JobSpec) -> tuple[list[str], str]:
    """Return the splits that a job reads, and the field that names them."""
    match spec:
        case Evaluate():
            return [spec.evaluation.split], "/evaluation/split"
        case Export():
            return [spec.export.split], "/export/split"
        case _:
            return ["train", "val"], "/dataset"
