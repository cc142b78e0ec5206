"""The list of reference fields is complete: no spec has a field for a model or job that the list leaves out."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from rdrkd.spec import Compare, Distill, Evaluate, Export, JobOutput, RegisteredModel, Train
from rdrkd.spec.reference_fields import OF_A_JOB, OF_A_STUDY
from rdrkd.spec.study import Study


def _parts(annotation: Any) -> set[Any]:
    return {annotation}.union(*map(_parts, get_args(annotation)))


def _reference_fields(model: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        parts = _parts(field.annotation)
        if parts & {RegisteredModel, JobOutput}:  # an architecture alone refers to nothing
            yield before + name
        else:
            for part in parts:
                if isinstance(part, type) and issubclass(part, BaseModel) and part is not model:
                    yield from _reference_fields(part, f"{before}{name}/")


@pytest.mark.parametrize("kind", [Distill, Train, Evaluate, Export, Compare])
def test_every_reference_of_a_job_is_listed(kind: type[BaseModel]) -> None:
    assert set(_reference_fields(kind)) <= set(OF_A_JOB)


def test_every_reference_of_a_study_is_listed() -> None:
    assert set(_reference_fields(Study)) == set(OF_A_STUDY)
