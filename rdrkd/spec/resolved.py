"""A spec with every default filled in, as far as that is possible without opening files."""

from typing import Any

from rdrkd.spec.jobs import Distill, RunSpec


def with_defaults(spec: RunSpec) -> dict[str, Any]:
    """Return the spec with every default filled in and the preset expanded to its terms."""
    content = spec.model_dump(mode="json")
    if isinstance(spec, Distill):
        recipe = spec.distillation.recipe
        content["distillation"] = {
            "preset": spec.distillation.preset,
            "losses": [term.model_dump(mode="json") for term in recipe.terms],
            "calibration": recipe.calibration and recipe.calibration.model_dump(mode="json"),
            "schedule": recipe.schedule.model_dump(mode="json"),
            "teacher_scale": recipe.teacher_scale,
            "assignment": recipe.assignment,
        }
    return content
