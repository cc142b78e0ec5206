"""The fields of a spec that refer to models and jobs, listed once for all code that reads references."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from rdrkd.spec.jobs import RunSpec
from rdrkd.spec.references import ModelRef
from rdrkd.spec.study import Study

OF_A_JOB = ("teacher", "student", "model")
OF_A_STUDY = ("teacher/model", "student")
Spec = TypeVar("Spec", bound=BaseModel)


def references(spec: RunSpec | Study) -> dict[str, ModelRef]:
    """Return the spec's model references by field; a slash leads into a nested object.

    >>> from rdrkd.spec import JOB_SPEC
    >>> spec = JOB_SPEC.validate_python({"kind": "train", "dataset": "d", "model": {"architecture": "yolov8n"}})
    >>> references(spec)
    {'model': Architecture(architecture='yolov8n')}
    """
    fields = OF_A_STUDY if isinstance(spec, Study) else OF_A_JOB
    found = {field: _at(spec, field) for field in fields}
    return {field: reference for field, reference in found.items() if reference is not None}


def replaced(spec: Spec, values: Mapping[str, Any]) -> Spec:
    """Return a copy of the spec with these fields replaced; the values must be valid.

    >>> from rdrkd.spec import JOB_SPEC, Architecture
    >>> spec = JOB_SPEC.validate_python({"kind": "train", "dataset": "d", "model": {"architecture": "yolov8n"}})
    >>> replaced(spec, {"model": Architecture(architecture="yolov8s"), "dataset": "e"}).dataset
    'e'
    """
    update: dict[str, Any] = {}
    for path, value in values.items():
        field, _, rest = path.partition("/")
        update[field] = replaced(getattr(spec, field), {rest: value}) if rest else value
    return spec.model_copy(update=update)


def _at(spec: BaseModel, path: str) -> Any:
    found: Any = spec
    for field in path.split("/"):
        found = getattr(found, field, None)
    return found
