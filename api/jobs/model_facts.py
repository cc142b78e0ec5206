"""Facts about the models that a spec refers to, from the database alone, without opening a file."""

from typing import Any

from sqlalchemy.orm import Session

from api.tables.jobs import Job
from api.tables.models import Model
from rdrkd import pretrained
from rdrkd.spec import (
    RUN_SPEC,
    Architecture,
    Distill,
    JobOutput,
    JobSpec,
    ModelRef,
    Pretrained,
    RegisteredModel,
    references,
)


def card_of(session: Session, reference: ModelRef) -> dict[str, Any] | None:
    """Return a model's report: `names`, for an upload also `strides` and `reg_max`; None before its check."""
    match reference:
        case RegisteredModel():
            model = session.get(Model, reference.model)
            return model.report if model is not None else None
        case JobOutput():
            job = session.get(Job, reference.job)
            return (job.result or {}).get("student") if job is not None else None
        case Pretrained():
            return pretrained.card(reference.architecture)
        case _:
            return None


def architecture_of(session: Session, reference: ModelRef | None) -> str | None:
    """Return the name of a model's architecture; None if it is unknown or has none."""
    match reference:
        case Architecture() | Pretrained():
            return str(reference.architecture)
        case JobOutput() if (job := session.get(Job, reference.job)) is not None and job.result is None:
            return architecture_of(session, own_model(RUN_SPEC.validate_python(job.spec)))
        case RegisteredModel() | JobOutput():
            card = card_of(session, reference)
            return card.get("architecture") if card is not None else None
        case _:
            return None


def own_model(spec: Any) -> ModelRef | None:
    """Return the model that a job trains or evaluates."""
    return references(spec).get("student" if isinstance(spec, Distill) else "model")


def teacher_of(spec: JobSpec) -> ModelRef | None:
    """Return the teacher if the job needs one; the preset `none` does not."""
    return spec.teacher if isinstance(spec, Distill) and spec.distillation.recipe.terms else None
