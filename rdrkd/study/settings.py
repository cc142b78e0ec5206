"""Training settings as text in a report."""

from collections.abc import Mapping
from typing import Any

from rdrkd.diagnostics.history import at
from rdrkd.spec.training import TrainSettings

MAIN = ("epochs", "imgsz", "batch", "optimizer", "lr0")  # always listed; other settings only if not at their default
Texts = dict[str, str]  # name -> value, in words


def training(settings: Mapping[str, Any]) -> Texts:
    """Format training settings, without the seed, which differs between members."""
    return {name: text(value) for name, value in settings.items() if name != "seed"}


def as_text(settings: Mapping[str, str]) -> str:
    """Join training settings to text: the main ones, and those that differ from the defaults.

    >>> as_text({"epochs": "30", "lr0": "0.01", "box": "7.5", "nbs": "16"})
    'epochs 30, lr0 0.01, nbs 16, the rest by default'
    """
    defaults = {name: text(field.default) for name, field in TrainSettings.model_fields.items()}
    first = [name for name in MAIN if name in settings]
    rest = [name for name in settings if name not in MAIN and settings[name] != defaults.get(name)]
    said = [f"{name} {settings[name]}" for name in [*first, *rest]]
    return ", ".join([*said, "the rest by default"]) if said else ""


def terms(distillation: Mapping[str, Any] | None) -> str:
    """Describe a method's terms and their weights; empty for the student alone.

    >>> terms({"losses": [{"name": "ld", "weight": 0.25}], "calibration": None})
    'ld (weight 0.25)'
    >>> terms({"losses": [{"name": "ld", "weight": 0.25}], "calibration": {"share": 0.5, "mode": "running"}})
    'ld (share 0.5), running'
    """
    calibration, said = at(distillation, "calibration"), []
    for term in at(distillation, "losses") or []:
        own = at(calibration, "shares", term["name"])
        share = at(calibration, "share") if own is None else own
        how = f"share {text(share)}" if calibration else f"weight {text(term['weight'])}"
        said.append(f"{term['name']} ({how})")
    running = ["running"] if said and at(calibration, "mode") == "running" else []
    return ", ".join([*said, *running])


def details(distillation: Mapping[str, Any] | None) -> Texts:
    """Format the settings of a method's terms, without weights that calibration has chosen."""
    found = {
        f"{term['name']}.{name}": text(value)
        for term in at(distillation, "losses") or []
        for name, value in term.items()
        if name != "name" and not (name == "weight" and at(distillation, "calibration"))
    }
    for block in ("calibration", "schedule"):
        found |= {f"{block}.{name}": text(value) for name, value in (at(distillation, block) or {}).items()}
    return found


def text(value: Any) -> str:
    """Format a setting as in a spec; 30 and 30.0 read the same.

    >>> text(30.0), text(0.0005), text(True), text("bf16"), text([8, 16])
    ('30', '0.0005', 'true', 'bf16', '[8, 16]')
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
