"""The settings of Ultralytics' trainer for a plan."""

from pathlib import Path
from typing import Any

from rdrkd.process.devices import CPU
from rdrkd.spec import TrainSettings
from rdrkd.training import resume_state
from rdrkd.training.plan import Plan
from rdrkd.ultralytics_adapter import LOGGER, RANK


def batch_of(plan: Plan, resume: resume_state.Found | None) -> int:
    """Return images per step on all ranks together: as requested, or as reduced for want of memory before a resume."""
    return (resume and resume.batch) or plan.settings.batch


def overrides(
    plan: Plan, data: Path, run_dir: Path, devices: tuple[str, ...], resume: resume_state.Found | None
) -> dict[str, Any]:
    """Return the settings by their names in Ultralytics."""
    LOGGER.setLevel("INFO" if RANK < 1 else "ERROR")
    settings: TrainSettings = plan.settings
    return {
        **settings.model_dump(mode="json"),
        "batch": batch_of(plan, resume),
        # With "bf16" Ultralytics downloads no model to check fp16 with, and does not scale: precision.py does that.
        "amp": "bf16" if settings.amp else False,
        "compile": settings.compile and not plan.recipe.terms,  # a pair compiles its own two networks
        "freeze": settings.freeze or None,
        "rect": settings.rect and len(devices) == 1,  # ranks cannot share its order of images
        "model": "yolov8n.yaml",  # never opened: `setup_model` builds the plan's student
        "data": str(data),
        "device": CPU if devices[0] == CPU else ",".join(devices),
        "project": str(run_dir),
        "name": "train",
        "exist_ok": True,
        "plots": False,
        "save": True,
        "val": True,
        "verbose": False,
        "pretrained": False,
    }
