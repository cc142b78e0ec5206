"""What a person should be told of a probe: a term that is inert, drowns the task or works on nothing, and the knob."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rdrkd.events import Warn
from rdrkd.spec import Calibration

WEAK = 1e-3  # of the task's gradient: below it a term hardly moves the student
STRONG = 3.0  # above it the task hardly does
_MASKS = {
    "hidden_cells": "tau_s, temperature or, of `regenerated`, tau_area",
    "hidden_channels": "tau_c or temperature",
}


class Finding(NamedTuple):
    """One thing: what it is about, and the sentence."""

    code: str
    message: str


class Findings:
    """Judges probes; tells each finding once, when it shows in two probes in a row (a first step is no rule)."""

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration
        self._last: set[str] = set()
        self._told: set[str] = set()

    def of(self, probe: Mapping[str, float], weights: Mapping[str, float]) -> list[Warn]:
        """Give what is to be told after a probe.

        Args:
            probe: figures as `rdrkd.diagnostics.probe` names them.
            weights: the terms' present weights; one whose weight is 0 is off.
        """
        found = {
            f"{finding.code} {finding.message.split(':')[0]}": finding
            for finding in judge(probe, weights, self.calibration)
        }
        again = [key for key in found if key in self._last and key not in self._told]
        self._last = set(found)
        self._told.update(again)
        return [Warn(code=found[key].code, message=found[key].message) for key in again]

    def state(self) -> dict[str, list[str]]:
        """What a resumed run needs, so that it tells nothing twice."""
        return {"last": sorted(self._last), "told": sorted(self._told)}

    def restore(self, state: Mapping[str, list[str]]) -> None:
        """Go on from `state`."""
        self._last, self._told = set(state["last"]), set(state["told"])


def judge(
    probe: Mapping[str, float], weights: Mapping[str, float], calibration: Calibration | None = None
) -> Iterator[Finding]:
    """Give the findings of one probe; each message begins with what it is about and a colon."""
    task = probe["task/gradient_norm"]
    for name, weight in weights.items():
        if weight <= 0 or f"{name}/ratio" not in probe:
            continue
        ratio, norm = probe[f"{name}/ratio"], probe[f"{name}/gradient_norm"]
        numbers = f"the gradient of the weighted term is {ratio:.2g} times the task's ({norm:.3g} against {task:.3g})"
        if ratio < WEAK:
            knob = _knob("raise", weight, ratio, 0.1, calibration)
            yield Finding("term_weak", f"{name}: {numbers}, so it hardly moves the student; {knob}")
        elif ratio > STRONG:
            knob = _knob("lower", weight, ratio, 1.0, calibration)
            yield Finding("term_drowns_task", f"{name}: {numbers}, so the student hardly learns the task; {knob}")
    for figure, share in probe.items():
        part, _, kind = figure.rpartition("/")
        if kind in _MASKS and not 0.005 <= share <= 0.98:
            hidden = kind.removeprefix("hidden_")
            consequence = "nothing is left to rebuild them from" if share > 0.5 else "nothing has to be rebuilt"
            yield Finding(
                f"mask_{hidden}", f"{part}: {share:.1%} of the {hidden} are hidden, so {consequence}; "
                f"turn {_MASKS[kind]}",
            )  # fmt: skip
        if kind == "dead_channels" and share > 0.5:
            yield Finding(
                "dead_channels", f"{part}: {share:.0%} of the channels are constant over the batch, so the feature "
                "terms teach little there; look at these weights, or leave the level out (`levels`)",
            )  # fmt: skip


def _knob(verb: str, weight: float, ratio: float, target: float, calibration: Calibration | None) -> str:
    """What to turn, and how far."""
    if calibration is not None and calibration.mode == "running":
        return f"{verb} its share in distillation.calibration"
    if calibration is not None:
        return f"{verb} its share in distillation.calibration, or let the share be followed (mode `running`)"
    towards = f"; {weight * target / ratio:.2g} would make it {target:g} times" if ratio > 0 else ""
    return f"{verb} its weight (now {weight:.3g}{towards}) or set distillation.calibration"
