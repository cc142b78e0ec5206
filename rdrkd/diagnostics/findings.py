"""Warnings from a probe: a term that is inert, drowns the task or has nothing to work on, and the setting to change."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from rdrkd.events import Warn
from rdrkd.spec import Calibration

WEAK = 1e-3  # times the task's gradient: a term below it hardly moves the student
STRONG = 3.0  # above it, the task hardly does
_TARGETS = {"raise": 0.1, "lower": 1.0}  # times the task's gradient: target of a suggested weight
_FEW, _MANY = 0.005, 0.98  # of a level's cells or channels: a mask outside these shares leaves nothing to learn
_MASKS = {"cells": "tau_s", "channels": "tau_c"}  # hidden units -> threshold above which they are hidden


class Finding(NamedTuple):
    """A potential warning; its message begins with its subject and a colon."""

    code: str
    message: str

    @property
    def key(self) -> str:
        """Identity of the finding across probes, regardless of its numbers.

        >>> Finding("term_weak", "ld: the gradient of ...").key
        'term_weak ld'
        """
        return f"{self.code} {self.message.split(':')[0]}"


class Findings:
    """Judges probes; reports each finding once, if it occurs in two consecutive probes (a first step proves nothing).

    Attributes:
        ratios: term name -> its ratios in the probes so far, the schedule's factor left out.
    """

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration
        self.ratios: dict[str, list[float]] = {}
        self._last: set[str] = set()
        self._reported: set[str] = set()

    def of(self, probe: Mapping[str, float], weights: Mapping[str, float]) -> list[Warn]:
        """Return the new warnings after a probe.

        Args:
            probe: figures as `rdrkd.diagnostics.probe` names them.
            weights: the terms' weights without the schedule's factor; one whose weight is 0 is off.
        """
        for name, ratio in _ratios(probe, weights).items():
            self.ratios.setdefault(name, []).append(ratio)
        found = {finding.key: finding for finding in judge(probe, weights, self.calibration, self.ratios)}
        again = [key for key in found if key in self._last and key not in self._reported]
        self._last = set(found)
        self._reported.update(again)
        return [Warn(code=found[key].code, message=found[key].message) for key in again]

    def state(self) -> dict[str, Any]:
        """Return the state for a resumed run, which must not repeat warnings and must count every probe."""
        ratios = {name: list(found) for name, found in self.ratios.items()}
        return {"last": sorted(self._last), "told": sorted(self._reported), "ratios": ratios}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore `state`; one of an earlier version has no ratios."""
        self._last, self._reported = set(state["last"]), set(state["told"])
        self.ratios = {name: list(found) for name, found in state.get("ratios", {}).items()}


def judge(
    probe: Mapping[str, float],
    weights: Mapping[str, float],
    calibration: Calibration | None = None,
    ratios: Mapping[str, Sequence[float]] | None = None,
) -> Iterator[Finding]:
    """Yield the findings of one probe.

    Args:
        probe: as for `Findings.of`.
        weights: likewise.
        calibration: the run's calibration, if any.
        ratios: term name -> its ratios in all probes including this one; their median determines the suggested
            setting. Default: this probe only.
    """
    yield from _of_weights(probe, weights, calibration, ratios or {})
    yield from _of_masks(probe)
    for network, levels in _by_level(probe, "dead_channels").items():
        if dead := {level: share for level, share in levels.items() if share > 0.5}:
            yield Finding(
                "dead_channels", f"{network}: {_listed(dead, 0)} of the channels are constant over the batch, so the "
                "feature terms teach little there; look at these weights, or leave such levels out (`levels`)",
            )  # fmt: skip


def _ratios(probe: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Return the ratios of the active terms at their configured weights, without the schedule's factor."""
    factor = probe.get("schedule/factor", 1.0)
    on = [name for name, weight in weights.items() if weight > 0 and f"{name}/ratio" in probe] if factor > 0 else []
    return {name: probe[f"{name}/ratio"] / factor for name in on}


def _of_weights(
    probe: Mapping[str, float],
    weights: Mapping[str, float],
    calibration: Calibration | None,
    ratios: Mapping[str, Sequence[float]],
) -> Iterator[Finding]:
    """Judge the configured weights, without the schedule's factor at this step."""
    task, factor = probe["task/gradient_norm"], probe.get("schedule/factor", 1.0)
    for name, ratio in _ratios(probe, weights).items():
        norm, so_far = probe[f"{name}/gradient_norm"] / factor, ratios.get(name, [ratio])
        numbers = f"the gradient of the weighted term is {ratio:.2g} times the task's ({norm:.3g} against {task:.3g})"
        if factor < 1:
            numbers += f", the schedule's factor of {factor:.3g} left out"
        if ratio < WEAK:
            knob = _knob("raise", weights[name], so_far, median(so_far) < WEAK, calibration)
            yield Finding("term_weak", f"{name}: {numbers}, so it hardly moves the student; {knob}")
        elif ratio > STRONG:
            learns = "hardly learns the task" if ratio * factor > STRONG else "would hardly learn the task without it"
            knob = _knob("lower", weights[name], so_far, median(so_far) > STRONG, calibration)
            yield Finding("term_drowns_task", f"{name}: {numbers}, so the student {learns}; {knob}")


def _of_masks(probe: Mapping[str, float]) -> Iterator[Finding]:
    """Judge the masks: per term, one finding for levels that hide too little, and one for those that hide too much."""
    for what, threshold in _MASKS.items():
        for term, levels in _by_level(probe, f"hidden_{what}").items():
            area = what == "cells" and term == "regenerated"  # it also hides the cells of tiny objects
            if few := {level: share for level, share in levels.items() if share < _FEW}:
                knob = f"lower {threshold}" + ", or raise tau_area" * area
                said = f"{term} hides hardly any {what}: {_listed(few, 1)}, so nothing has to be rebuilt"
                yield Finding(f"mask_{what}", f"{said}; {knob}")
            if many := {level: share for level, share in levels.items() if share > _MANY}:
                knob = f"raise {threshold}" + ", or lower tau_area" * area
                said = f"{term} hides nearly all {what}: {_listed(many, 1)}, so nothing is left to rebuild them from"
                yield Finding(f"mask_{what}", f"{said}; {knob}")


def _by_level(probe: Mapping[str, float], figure: str) -> dict[str, dict[str, float]]:
    """Group a figure of a probe: term or network -> level -> share."""
    found: dict[str, dict[str, float]] = {}
    for key, share in probe.items():
        owner, _, rest = key.partition("/")
        if rest.endswith(f"/{figure}"):
            found.setdefault(owner, {})[rest.removesuffix(f"/{figure}")] = share
    return found


def _listed(shares: Mapping[str, float], digits: int) -> str:
    return ", ".join(f"{share:.{digits}%} in {level}" for level, share in shares.items())


def _knob(verb: str, weight: float, ratios: Sequence[float], usual: bool, calibration: Calibration | None) -> str:
    """Return the setting to change, and its suggested value: weights are named as in the spec.

    Args:
        verb: `raise` or `lower`.
        weight: the term's weight.
        ratios: the term's ratios so far. Batches vary, so the suggestion, like the report's verdict, uses the median.
        usual: whether the median is also beyond the threshold.
        calibration: the run's calibration.
    """
    middle = median(ratios)
    if not usual:
        own, so_far = "weight" if calibration is None else "share", f"the median of its {len(ratios)} probes is"
        return f"{so_far} {middle:.2g} times, so see if it stays before you {verb} its {own}"
    if calibration is not None and calibration.mode == "running":
        return f"{verb} its share in distillation.calibration"
    if calibration is not None:
        return f"{verb} its share in distillation.calibration, or let the share be followed (mode `running`)"
    target = _TARGETS[verb]
    probes = "this probe" if len(ratios) == 1 else f"the median of its {len(ratios)} probes"
    towards = f"; by {probes} {weight * target / middle:.2g} would make it {target:g} times" if middle > 0 else ""
    return f"{verb} its weight (now {weight:.3g}{towards}) or set distillation.calibration"
