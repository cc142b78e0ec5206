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
    """A warning in the making; its message begins with what it is about and a colon."""

    code: str
    message: str

    @property
    def key(self) -> str:
        """What makes it the same in the next probe, whatever its numbers.

        >>> Finding("term_weak", "ld: the gradient of ...").key
        'term_weak ld'
        """
        return f"{self.code} {self.message.split(':')[0]}"


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
            weights: the terms' weights without the schedule's factor; one whose weight is 0 is off.
        """
        found = {finding.key: finding for finding in judge(probe, weights, self.calibration)}
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
    """Give the findings of one probe."""
    yield from _of_weights(probe, weights, calibration)
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


def _of_weights(
    probe: Mapping[str, float], weights: Mapping[str, float], calibration: Calibration | None
) -> Iterator[Finding]:
    """Judge the weights as they were set: what the schedule has made of a term at the step is not their fault."""
    task, factor = probe["task/gradient_norm"], probe.get("schedule/factor", 1.0)
    for name, weight in weights.items():
        if weight <= 0 or factor <= 0 or f"{name}/ratio" not in probe:
            continue
        ratio, norm = probe[f"{name}/ratio"] / factor, probe[f"{name}/gradient_norm"] / factor
        numbers = f"the gradient of the weighted term is {ratio:.2g} times the task's ({norm:.3g} against {task:.3g})"
        if factor < 1:
            numbers += f", the schedule's factor of {factor:.3g} left out"
        if ratio < WEAK:
            knob = _knob("raise", weight, ratio, 0.1, calibration)
            yield Finding("term_weak", f"{name}: {numbers}, so it hardly moves the student; {knob}")
        elif ratio > STRONG:
            learns = "hardly learns the task" if ratio * factor > STRONG else "would hardly learn the task without it"
            knob = _knob("lower", weight, ratio, 1.0, calibration)
            yield Finding("term_drowns_task", f"{name}: {numbers}, so the student {learns}; {knob}")


def _knob(verb: str, weight: float, ratio: float, target: float, calibration: Calibration | None) -> str:
    """What to turn, and how far: weights are named as the spec has them."""
    if calibration is not None and calibration.mode == "running":
        return f"{verb} its share in distillation.calibration"
    if calibration is not None:
        return f"{verb} its share in distillation.calibration, or let the share be followed (mode `running`)"
    towards = f"; {weight * target / ratio:.2g} would make it {target:g} times" if ratio > 0 else ""
    return f"{verb} its weight (now {weight:.3g}{towards}) or set distillation.calibration"
