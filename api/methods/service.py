"""The catalogue of methods and architectures, generated from the job spec."""

import inspect

from api.methods.schemas import ArchitectureView, MethodView, Paper, PresetView
from rdrkd.spec import ARCHITECTURES, OFFICIAL, PRESETS, TERMS, FeatureTerm, Preset, Term, Ultralytics
from rdrkd.spec.references import FAMILIES

RDR_KD = "RDR-KD: A Knowledge Distillation Detection Framework for Drone Scenes", "Huang, Chang, Yang, Liu, Liu, Song"

# name: title, source
ABOUT: dict[str, tuple[str, Paper]] = {
    "regenerated": ("Regenerated distillation", Paper.of(*RDR_KD, "1-6")),
    "decoupled": ("Decoupled distillation", Paper.of(*RDR_KD, "7-8")),
    "responsive": ("Responsive distillation", Paper.of(*RDR_KD, "9-10")),
    "bckd": (
        "BCKD: binary classification and IoU distillation",
        Paper.of(
            "Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection",
            "Yang, Zhou, Li, Qiao, Li, Yang, Wang, Li",
        ),
    ),
    "crosskd": (
        "Cross-head distillation",
        Paper.of(
            "CrossKD: Cross-Head Knowledge Distillation for Object Detection", "Wang, Chen, Zheng, Li, Cheng, Hou"
        ),
    ),
    "ultralytics": ("Ultralytics' distillation", Paper.of("Ultralytics 8.4.190, `distill_model=`", "Ultralytics")),
    "ld": (
        "Localisation distillation",
        Paper.of("Localization Distillation for Dense Object Detection", "Zheng, Ye, Wang, Ren, Zuo, Hou, Cheng"),
    ),
    "wsld": (
        "Weighted soft labels distillation",
        Paper.of(
            "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective",
            "Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang",
        ),
    ),
    "nkd": (
        "Normalised knowledge distillation",
        Paper.of(
            "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized Loss and "
            "Customized Soft Labels",
            "Yang, Zeng, Li, Zhang, Yuan, Li",
        ),
    ),
    "dkd": (
        "Decoupled knowledge distillation",
        Paper.of("Decoupled Knowledge Distillation", "Zhao, Cui, Song, Qiu, Liang"),
    ),
    "cwd": (
        "Channel-wise distillation",
        Paper.of("Channel-wise Knowledge Distillation for Dense Prediction", "Shu, Liu, Gao, Yan, Shen"),
    ),
    "pkd": (
        "Pearson distillation",
        Paper.of(
            "PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient",
            "Cao, Zhang, Gao, Cheng, Cheng, Cheng",
        ),
    ),
    "mgd": (
        "Masked generative distillation",
        Paper.of("Masked Generative Distillation", "Yang, Li, Shao, Shi, Yuan, Yuan"),
    ),
    "fgd": (
        "Focal and global distillation",
        Paper.of("Focal and Global Knowledge Distillation for Detectors", "Yang, Li, Jiang, Gong, Yuan, Zhao, Yuan"),
    ),
    "amd": (
        "Adaptive masked distillation (reconstructed from its abstract; AWD in Table I)",
        Paper.of("AMD: Adaptive Masked Distillation for Object Detection", "Yang, Tang, Li, Xu, Wan"),
    ),
}
PRESET_TITLES = {
    Preset.RDR_KD: "RDR-KD, each term with a share of the task's gradient",
    Preset.RDR_KD_PAPER: "RDR-KD with the paper's weights and plain sums, to the letter",
    Preset.REGENERATED: "RDR-KD's regenerated term alone (Table II)",
    Preset.DECOUPLED: "RDR-KD's decoupled term alone (Table II)",
    Preset.REGENERATED_DECOUPLED: "RDR-KD's two feature terms (Table II)",
    Preset.RESPONSIVE: "RDR-KD's responsive term alone (Table II)",
    Preset.BCKD: "BCKD with its published weights",
    Preset.CROSSKD: "CrossKD with its published weights",
    Preset.ULTRALYTICS: "Ultralytics' own distillation, gain 6",
    Preset.CWD: "CWD with its published weight",
    Preset.PKD: "PKD with its published weight",
    Preset.MGD: "MGD with its published weight",
    Preset.FGD: "FGD with its weights for YOLOX",
    Preset.AMD: "AMD (Table I: AWD), reconstructed from its abstract, with MGD's weight",
    Preset.WSLD: "WSLD with its weight for ImageNet",
    Preset.LD: "LD with its published weight",
    Preset.DKD: "DKD with its weights for detectors",
    Preset.NKD: "NKD with its weights for ImageNet",
    Preset.CWD_WSLD: "CWD and WSLD (Table I)",
    Preset.MGD_WSLD: "MGD and WSLD (Table I)",
    Preset.MGD_DKD: "MGD and DKD (Table I)",
    Preset.PKD_NKD: "PKD and NKD (Table I)",
    Preset.PKD_DKD: "PKD and DKD (Table I)",
    Preset.NONE: "the student alone: the baseline of every comparison",
}


def methods() -> list[MethodView]:
    """Describe every loss term."""
    return [_method(name) for name in TERMS]


def presets() -> list[PresetView]:
    """Describe every preset, its terms expanded."""
    return [
        PresetView(
            name=name,
            title=PRESET_TITLES[name],
            losses=[term.model_dump(mode="json") for term in recipe.terms],
            calibration=recipe.calibration,
            schedule=recipe.schedule,
        )
        for name, recipe in PRESETS.items()
    ]


def architectures() -> list[ArchitectureView]:
    """List the networks that a job can name."""
    families = {name: family for family, names in FAMILIES.items() for name in names}
    return [
        ArchitectureView(name=name, family=families.get(name, "yolov8"), pretrained=name in OFFICIAL)
        for name in ARCHITECTURES
    ]


def _method(name: str) -> MethodView:
    term = TERMS[name]
    title, paper = ABOUT[name]
    return MethodView(
        name=name,
        title=title,
        paper=paper,
        acts_on="feature maps" if issubclass(term, FeatureTerm) else "head outputs",
        needs=_needs(term()),
        description=inspect.cleandoc(term.__doc__ or ""),
        defaults=term().model_dump(mode="json"),
        parameters=term.model_json_schema(),
    )


def _needs(term: Term) -> list[str]:
    """Return this term's requirements on a pair, which `rdrkd.models` checks."""
    if isinstance(term, FeatureTerm):
        of_head = ["levels that the teacher's head has"] if isinstance(term, Ultralytics) else []
        return ["a map of one size in both at each of `levels`", *of_head]
    needs = ["heads of the same strides"]
    if term.needs_distribution:
        needs.append("distributions over equally many distances in both heads (reg_max > 1)")
    if term.least_classes > 1:
        needs.append(f"at least {term.least_classes} classes, or `constant_logit`")
    return needs
