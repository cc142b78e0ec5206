"""The job spec as Pydantic models; importable without torch."""

from rdrkd.spec.jobs import JOB_SPEC, Distill, Evaluate, JobSpec, Train, references
from rdrkd.spec.losses import TERMS, Decoupled, Regenerated, Responsive, Term
from rdrkd.spec.presets import PRESETS, Distillation, Preset
from rdrkd.spec.references import (
    ARCHITECTURES,
    DATASET_ID,
    JOB_ID,
    MODEL_ID,
    Architecture,
    JobOutput,
    LocalModel,
    ModelRef,
    RegisteredModel,
    WeightsRef,
)
from rdrkd.spec.training import EvaluationSettings, TrainSettings

__all__ = [
    "ARCHITECTURES",
    "DATASET_ID",
    "JOB_ID",
    "JOB_SPEC",
    "MODEL_ID",
    "PRESETS",
    "TERMS",
    "Architecture",
    "Decoupled",
    "Distill",
    "Distillation",
    "Evaluate",
    "EvaluationSettings",
    "JobOutput",
    "JobSpec",
    "LocalModel",
    "ModelRef",
    "Preset",
    "Regenerated",
    "RegisteredModel",
    "Responsive",
    "Term",
    "Train",
    "TrainSettings",
    "WeightsRef",
    "references",
]
