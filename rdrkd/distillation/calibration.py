"""Calibration: choose weights so that each term's gradient is a given share of the task's.

    weight_i = share_i x |grad L_task| / |grad L_i|           norms at the student's parameters, L_i unweighted

The ratio is averaged as a geometric mean: gradients fall by orders of magnitude in the first steps. A weight that is
updated throughout the training (`running`) also obeys three bounds, because nothing is measured in between:

    weight_i <= 1.5 x share_i x the newest ratio              a term that has grown is cut down at once
    weight_i <= 2 x its weight at the measurement before      a term that fades is not blown up
    weight_i x L_i <= 4 x the same at the newest measurement  one that returns is held in every step, at no cost
"""

import math
from collections.abc import Mapping

from torch import Tensor

from rdrkd.collectives import total
from rdrkd.spec import Calibration

_MEMORY = 0.5  # share of the past that the running mean keeps at each measurement
_OVER = 1.5  # most times its share that a term may have at the newest measurement
_GROWTH = 2.0  # largest growth of a weight between measurements
_VALUE = 4.0  # most times its weighted value at the newest measurement; for an L2 term, twice the gradient


class Calibrator:
    """Computes weights from measured gradient norms; terms with weight 0 stay off.

    Attributes:
        settings: share, mode and steps.
        logs: term name -> mean log of |grad L_task| / |grad L_i|.
        values: term name -> its value at the newest measurement; for running weights only.
        measured: number of measured steps.
    """

    def __init__(self, settings: Calibration, weights: Mapping[str, float]) -> None:
        self.settings = settings
        self.terms = [name for name, weight in weights.items() if weight > 0]
        self.logs: dict[str, float] = {}
        self.values: dict[str, float] = {}
        self.measured = 0
        self._steps = 0
        self._last = 0  # step of the newest measurement

    @property
    def running(self) -> bool:
        """Whether the weights are updated throughout the training."""
        return self.settings.mode == "running"

    @property
    def done(self) -> bool:
        """Whether the weights are final."""
        return not self.running and self.measured >= self.settings.steps

    def due(self) -> bool:
        """Return whether to measure this step; the same in all processes of a distributed training.

        Running weights are measured at steps 1, 2, 3, 4, 6, 9, 13, ...: the interval is half the steps so far, at most
        `steps`, as gradients change fastest at the beginning.
        """
        self._steps += 1
        if not self.running:
            return not self.done
        return not self.measured or self._steps - self._last >= min(self.settings.steps, max(1, self._last // 2))

    def observe(
        self, weights: Mapping[str, float], norms: Mapping[str, float], objects: int, values: Mapping[str, float]
    ) -> dict[str, float]:
        """Process a measured step and return the new weights.

        Args:
            weights: the current weights.
            norms: `task` and term name -> gradient norm of the unweighted loss.
            objects: ground-truth boxes in the batch. Steps without objects are ignored, and those with a norm that is
                zero or not finite (AMP's first loss scales).
            values: term name -> value of the unweighted loss.
        """
        if self.done:
            return dict(weights)
        ratios = [norms["task"] / norms[name] if norms[name] > 0 else math.inf for name in self.terms]
        counts = objects > 0 and all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)
        figures = [*(math.log(ratio) for ratio in ratios), *(values[name] for name in self.terms)] if counts else None
        means = _mean_over_ranks(figures, 2 * len(ratios))
        if means is None:
            return dict(weights)
        self.measured, self._last = self.measured + 1, self._steps
        newest = dict(zip(self.terms, means, strict=False))
        if self.running:
            self.values = dict(zip(self.terms, means[len(ratios) :], strict=True))
        return {**weights, **{name: self._weight(name, weights[name], log) for name, log in newest.items()}}

    def _weight(self, name: str, before: float, newest: float) -> float:
        """Return a term's bounded weight, given the log of its newest ratio."""
        share = 1 / self.measured
        if self.running:
            share = max(1 - _MEMORY, share)
        mean = self.logs.get(name, 0.0)
        self.logs[name] = mean = mean + share * (newest - mean)
        wanted = self.settings.share_of(name)
        weight = wanted * math.exp(mean)
        if self.running and self.measured > 1:
            weight = min(weight, _OVER * wanted * math.exp(newest), _GROWTH * before)
        return weight

    def restraint(self, name: str, value: Tensor) -> Tensor:
        """Return the factor, at most 1, that bounds a term's weighted value by that of the newest measurement."""
        bound = _VALUE * abs(self.values[name]) if name in self.values else math.inf
        return (bound / value.detach().abs()).nan_to_num(nan=1.0).clamp(max=1.0)

    def state(self) -> dict[str, object]:
        """Return the state for a resumed run."""
        return {"logs": dict(self.logs), "values": dict(self.values), "measured": self.measured,
                "steps": self._steps, "last": self._last}  # fmt: skip

    def restore(self, state: Mapping[str, object]) -> None:
        """Restore `state`; those of earlier versions lack `values` and `last`."""
        self.logs, self.measured, self._steps = dict(state["logs"]), state["measured"], state["steps"]  # type: ignore[call-overload, assignment]
        self.values, self._last = dict(state.get("values", {})), state.get("last", self._steps)  # type: ignore[call-overload, assignment]


def _mean_over_ranks(values: list[float] | None, count: int) -> list[float] | None:
    """Return the mean over the ranks that have values, so that all use the same weights."""
    *sums, ranks = total([*(values or [0.0] * count), float(values is not None)])
    return [value / ranks for value in sums] if ranks else None
