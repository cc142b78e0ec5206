"""Provide a job's dataset and models on this machine: find them by id, verify their content, return paths."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from api.settings import Settings
from api.storage import Storage
from api.tables.datasets import Dataset
from api.tables.job_inputs import newest_weights
from api.tables.jobs import Job
from api.tables.models import Model
from api.uploads.datasets.reading import AS_IT_IS, Words
from rdrkd import pretrained
from rdrkd.errors import DiskFullError, ModelError
from rdrkd.reasons import Reason
from rdrkd.spec import RUN_SPEC, Distill
from rdrkd.spec.reference_fields import OF_A_JOB


class InputDamaged(Exception):
    """An input of a job differs from what was uploaded, or cannot be provided on this machine."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Input:
    """A stored file that a job needs, with its command-line option and the expected content."""

    option: str  # teacher, student, model, dataset
    row_id: str
    key: str
    sha256: str
    words: Words = AS_IT_IS  # the options with which a dataset's check read it
    name: str | None = None  # its display name


def locate(session: Session, spec: dict[str, Any]) -> list[Input]:
    """Find the stored files that a spec refers to; architectures need none.

    Raises:
        InputDamaged: an input has been deleted since the job was claimed.
    """
    inputs = [_input(session.get(Dataset, spec["dataset"]), "dataset", spec["dataset"])]
    for field in ("teacher", "student", "model"):
        reference: dict[str, str] = spec.get(field) or {}
        if "model" in reference:
            inputs.append(_input(session.get(Model, reference["model"]), field, reference["model"]))
        elif "job" in reference:
            weights = newest_weights(session, reference["job"])
            if weights is None:
                raise InputDamaged(Reason.DEPENDENCY_FAILED, f"{field}: the weights of {reference['job']} are gone")
            job = session.get(Job, reference["job"])
            inputs.append(
                Input(field, reference["job"], weights.key, weights.sha256, name=None if job is None else job.name)
            )
    return inputs


def _input(upload: Dataset | Model | None, option: str, row_id: str) -> Input:
    if upload is None or upload.key is None or upload.sha256 is None:
        raise InputDamaged(Reason.DEPENDENCY_FAILED, f"{option}: {row_id} no longer exists")
    words = Words.of(upload) if isinstance(upload, Dataset) else AS_IT_IS
    return Input(option, row_id, upload.key, upload.sha256, words, upload.name or upload.filename)


def official(spec: dict[str, Any], settings: Settings) -> list[str]:
    """Provide the official weights that a spec names, and return the trainer's options for them.

    Raises:
        InputDamaged: there is no copy, and none can be downloaded or stored.
    """
    fields = [field for field in OF_A_JOB if isinstance(spec.get(field), dict) and "pretrained" in spec[field]]
    job = RUN_SPEC.validate_python(spec) if fields else None
    if isinstance(job, Distill) and not job.distillation.recipe.terms:  # the preset `none` opens no teacher
        fields = [field for field in fields if field != "teacher"]
    folder, url = settings.pretrained_dir, settings.pretrained_url
    options: list[str] = []
    for field in fields:
        try:
            path = pretrained.fetch(
                spec[field]["architecture"], folder, url, "`pretrained` of the worker's data folder"
            )
        except (ModelError, DiskFullError) as error:
            raise InputDamaged(error.reason, f"{field}: {error}") from error
        options += [f"--{field}", str(path)]
    return options


def names_of(inputs: list[Input]) -> dict[str, str]:
    """Return the display name of each input by the spec's field, for the run's report."""
    return {item.option: item.name for item in inputs if item.name}


def arguments(storage: Storage, inputs: list[Input], folder: Path) -> list[str]:
    """Verify each file and return the trainer's options for them.

    Args:
        storage: the store that has them.
        inputs: the files to provide.
        folder: where to put files that the store does not have on this machine.

    Raises:
        InputDamaged: a file is missing, or its sha256 is not the recorded one.
    """
    options: list[str] = []
    for item in inputs:
        path = storage.fetch(item.key, item.sha256, folder)
        if path is None:
            reason = Reason.DATASET_INVALID if item.option == "dataset" else Reason.MODEL_INVALID
            message = f"{item.option}: the stored file of {item.row_id} is missing or damaged; upload it again"
            raise InputDamaged(reason, message)
        options += [f"--{item.option}", str(path), *item.words.options]
    return options
