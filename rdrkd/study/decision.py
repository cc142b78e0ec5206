"""The verdict by the rule that a study fixed before its first member: go, no go, or undecided and for how long."""

import math
from collections.abc import Sequence

from scipy import stats

from rdrkd.spec.deciding import Decide
from rdrkd.spec.presets import Preset
from rdrkd.study.gains import Gain
from rdrkd.study.statistics import CONFIDENCE, Difference

_MOST = 1000  # larger numbers of seeds are not reported
_NAMES = {"epochs": "at equal epochs", "time": "at equal time", "rate": "at the student's best learning rate"}


def judge(rule: Decide, found: Sequence[Gain]) -> list[str]:
    """Judge a rule's method against each available control."""
    names = [gain.row.method for gain in found]
    lead = rule.method or (Preset.RDR_KD if Preset.RDR_KD in names else next(iter(names), None))
    said = []
    for gain in found:
        if gain.row.method != lead:
            continue
        for against, name in _NAMES.items():
            difference = gain.of(rule.metric)[against]
            if difference is not None:
                said.append(f"{gain.row.label}, {rule.metric} {name}: {verdict(difference, rule.least)}.")
    about = f"rule: mean at least +{rule.least:g}, interval above 0"
    return [f"Decision ({about}): {sentence}" for sentence in said] or [
        f"Decision ({about}): undecided: there is no pair of {lead or 'a method'} and the student alone yet."
    ]


def verdict(gain: Difference, least: float) -> str:
    """Judge a gain.

    >>> verdict(Difference(2.0, 0.5, 3.5, 3), 0.3), verdict(Difference(-1.0, -1.2, -0.8, 3), 0.3)
    ('go, +2.00 [+0.50, +3.50]', 'no go, -1.00 [-1.20, -0.80]')
    >>> verdict(Difference(2.0, -0.5, 4.5, 3), 0.3)
    'undecided, +2.00 [-0.50, +4.50]: 4 seeds would decide it, should mean and spread stay'
    """
    if gain.low is None or gain.high is None:
        return f"undecided, {gain.mean:+.2f}: one pair tells nothing of chance"
    if gain.constant:
        return f"undecided, {gain.mean:+.2f}: the same in every pair, which tells nothing of chance"
    figures = f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"
    if gain.mean >= least and gain.low > 0:
        return f"go, {figures}"
    if gain.high < least:
        return f"no go, {figures}"
    seeds = seeds_to_decide(gain, least)
    until = f"{seeds} seeds would decide it" if seeds else f"not even {_MOST} seeds would decide it"
    return f"undecided, {figures}: {until}, should mean and spread stay"


def seeds_to_decide(gain: Difference, least: float) -> int | None:
    """Return the smallest number of seeds that would decide if mean and spread stay the same; None above a thousand.

    A gain of at least `least` is decided by an interval above 0, a smaller one by an interval below `least`.
    """
    assert gain.high is not None
    spread = (gain.high - gain.mean) * math.sqrt(gain.seeds) / _t(gain.seeds)
    margin = gain.mean if gain.mean >= least else least - gain.mean
    enough = (n for n in range(2, _MOST + 1) if _t(n) * spread / math.sqrt(n) < margin)
    return next(enough, None)


def _t(seeds: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1))
