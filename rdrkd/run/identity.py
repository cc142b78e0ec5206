"""What identifies the inputs of a run: hashes of its dataset and models, and how the dataset's archive was read."""

from pathlib import Path
from typing import Any

from rdrkd.data.opening import is_local, open_dataset
from rdrkd.errors import ModelError
from rdrkd.files import file_sha256
from rdrkd.run.load_models import Inputs, path_of
from rdrkd.spec import Architecture, Distill, LocalModel, RunSpec, references
from rdrkd.suggestion import file_suggestion


def dataset_path(spec: RunSpec, inputs: Inputs) -> Path:
    """Return the path of the dataset: given for this machine, or from the spec."""
    return inputs.dataset if inputs.dataset is not None else Path(spec.dataset)


def of_models(spec: RunSpec, inputs: Inputs) -> dict[str, str]:
    """Return the sha256 of each weights file that a run opens, by the field of the spec.

    Raises:
        ModelError: a file does not exist, or official weights cannot be downloaded.
        SpecError: a reference is an id, and no path was given.
    """
    alone = isinstance(spec, Distill) and not spec.distillation.recipe.terms  # the preset `none` opens no teacher
    return {
        field: _sha256(path_of(reference, getattr(inputs, field), field))
        for field, reference in references(spec).items()
        if not isinstance(reference, Architecture) and not (alone and field == "teacher")
    }


def at_hand(spec: RunSpec, inputs: Inputs, cache: Path) -> dict[str, Any]:
    """Return what identifies those inputs that are on this machine, to compare with a finished run's.

    Nothing is unpacked or downloaded, and an input that is no longer there cannot be compared.
    """
    found: dict[str, Any] = {"reading": inputs.reading.variant}
    path = dataset_path(spec, inputs)
    if path.exists():
        found["dataset_sha256"] = (
            open_dataset(path, cache, reading=inputs.reading).sha256 if is_local(path) else file_sha256(path)
        )
    given = {field: getattr(inputs, field) for field in references(spec)}
    named = {field: Path(one.path) for field, one in references(spec).items() if isinstance(one, LocalModel)}
    files = named | {field: file for field, file in given.items() if file is not None}
    found["model_sha256"] = {field: file_sha256(file) for field, file in files.items() if file.is_file()}
    return found


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise ModelError(f"expected a weights file, got nothing at {path.name}{file_suggestion(path)}")
    return file_sha256(path)
