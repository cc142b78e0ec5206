"""The catalogue of what a job can ask for, made from the job spec itself."""

import inspect
from typing import Literal

from api.methods.schemas import ArchitectureView, MethodView, Paper, PresetView
from rdrkd.spec import ARCHITECTURES, PRESETS, TERMS, Preset
from rdrkd.spec.references import FAMILIES

TITLE = "RDR-KD: A Knowledge Distillation Detection Framework for Drone Scenes"
AUTHORS = "Huang, Chang, Yang, Liu, Liu, Song"

# name: title, equations, what it compares
ABOUT: dict[str, tuple[str, str, Literal["feature maps", "head outputs"]]] = {
    "regenerated": ("Regenerated distillation", "1-6", "feature maps"),
    "decoupled": ("Decoupled distillation", "7-8", "feature maps"),
    "responsive": ("Responsive distillation", "9-10", "head outputs"),
}
PRESET_TITLES = {
    Preset.RDR_KD: "RDR-KD, the responsive term calibrated by the task's own normaliser",
    Preset.RDR_KD_PAPER: "RDR-KD with the paper's weights and plain sums, to the letter",
    Preset.NONE: "the student alone: the baseline of every comparison",
}


def methods() -> list[MethodView]:
    """Describe every loss term."""
    return [_method(name) for name in TERMS]


def presets() -> list[PresetView]:
    """Describe every preset, its terms expanded."""
    return [
        PresetView(name=name, title=PRESET_TITLES[name], losses=[term.model_dump(mode="json") for term in terms])
        for name, terms in PRESETS.items()
    ]


def architectures() -> list[ArchitectureView]:
    """List the networks that a job can name."""
    families = {name: family for family, names in FAMILIES.items() for name in names}
    return [ArchitectureView(name=name, family=families.get(name, "yolov8")) for name in ARCHITECTURES]


def _method(name: str) -> MethodView:
    term = TERMS[name]
    title, equations, acts_on = ABOUT[name]
    return MethodView(
        name=name,
        title=title,
        paper=Paper(title=TITLE, authors=AUTHORS, equations=equations),
        acts_on=acts_on,
        description=inspect.cleandoc(term.__doc__ or ""),
        defaults=term().model_dump(mode="json"),
        parameters=term.model_json_schema(),
    )
