"""Calibration: weights such that each term's gradient is a given share of the task's.

    weight_i = share_i x |grad L_task| / |grad L_i|           norms at the student's parameters, L_i unweighted

The ratio is averaged as a geometric mean: gradients fall by orders of magnitude in the first steps.
"""

import math
from collections.abc import Mapping

from rdrkd.collectives import total
from rdrkd.spec import Calibration

_MEMORY = 0.8  # of the running mean: what stays of the past at each measurement


class Calibrator:
    """Turns measured gradient norms into weights; terms whose weight is 0 stay off.

    Attributes:
        settings: share, mode and steps.
        logs: term name -> mean log of |grad L_task| / |grad L_i|.
        measured: how many steps were measured.
    """

    def __init__(self, settings: Calibration, weights: Mapping[str, float]) -> None:
        self.settings = settings
        self.terms = [name for name, weight in weights.items() if weight > 0]
        self.logs: dict[str, float] = {}
        self.measured = 0
        self._steps = 0

    @property
    def done(self) -> bool:
        """Whether the weights are final."""
        return self.settings.mode == "start" and self.measured >= self.settings.steps

    def due(self) -> bool:
        """Say whether this step is to be measured; the same in all processes of a distributed training."""
        self._steps += 1
        if self.settings.mode == "start":
            return not self.done
        return not self.measured or self._steps % self.settings.steps == 0

    def observe(self, weights: Mapping[str, float], norms: Mapping[str, float], objects: int) -> dict[str, float]:
        """Take a measured step and give the weights from here on.

        Args:
            weights: the present ones.
            norms: `task` and term name -> gradient norm of the unweighted loss.
            objects: ground-truth boxes in the batch. A step without any does not count, nor does one with a norm that
                is zero or not finite (AMP's first loss scales).
        """
        if self.done:
            return dict(weights)
        ratios = [norms["task"] / norms[name] if norms[name] > 0 else math.inf for name in self.terms]
        counts = objects > 0 and all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)
        logs = _mean_over_ranks([math.log(ratio) for ratio in ratios] if counts else None, len(ratios))
        if logs is None:
            return dict(weights)
        self.measured += 1
        share = 1 / self.measured if self.settings.mode == "start" else max(1 - _MEMORY, 1 / self.measured)
        for name, log in zip(self.terms, logs, strict=True):
            before = self.logs.get(name, 0.0)
            self.logs[name] = before + share * (log - before)
        chosen = {name: self.settings.share_of(name) * math.exp(self.logs[name]) for name in self.terms}
        return {**weights, **chosen}

    def state(self) -> dict[str, object]:
        """What a resumed run needs."""
        return {"logs": dict(self.logs), "measured": self.measured, "steps": self._steps}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from `state`."""
        self.logs, self.measured, self._steps = dict(state["logs"]), state["measured"], state["steps"]  # type: ignore[call-overload, assignment]


def _mean_over_ranks(values: list[float] | None, count: int) -> list[float] | None:
    """The mean over the ranks that have values: all must use the same weights."""
    *sums, ranks = total([*(values or [0.0] * count), float(values is not None)])
    return [value / ranks for value in sums] if ranks else None
