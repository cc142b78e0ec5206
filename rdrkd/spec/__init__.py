"""The job spec as Pydantic models; importable without torch."""

from rdrkd.spec.jobs import JOB_SPEC, Distill, Evaluate, JobSpec, Train, references
from rdrkd.spec.losses import (
    PAPER,
    TERMS,
    Decoupled,
    Dkd,
    FeatureTerm,
    HeadTerm,
    Ld,
    Regenerated,
    Responsive,
    Term,
    Ultralytics,
)
from rdrkd.spec.presets import PRESETS, Distillation, Preset, Recipe
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
from rdrkd.spec.weighting import Calibration, Schedule

__all__ = [
    "ARCHITECTURES",
    "DATASET_ID",
    "JOB_ID",
    "JOB_SPEC",
    "MODEL_ID",
    "PAPER",
    "PRESETS",
    "TERMS",
    "Architecture",
    "Calibration",
    "Decoupled",
    "Distill",
    "Distillation",
    "Dkd",
    "Evaluate",
    "EvaluationSettings",
    "FeatureTerm",
    "HeadTerm",
    "JobOutput",
    "JobSpec",
    "Ld",
    "LocalModel",
    "ModelRef",
    "Preset",
    "Recipe",
    "Regenerated",
    "RegisteredModel",
    "Responsive",
    "Schedule",
    "Term",
    "Train",
    "TrainSettings",
    "Ultralytics",
    "WeightsRef",
    "references",
]
