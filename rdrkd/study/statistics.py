"""Means and spreads over seeds, and paired differences to the baseline with their confidence interval.

Members of the same seed start from the same weights and see the same images, so the seed's common effect cancels in
their difference. Its mean over n seeds has the interval mean +/- t(0.975, n - 1) x s / sqrt(n).
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scipy import stats

from rdrkd.study.members import BASELINE
from rdrkd.study.results import FIGURES

CONFIDENCE = 0.95
_SAME = 1e-6  # percent points: figures have three decimals, smaller differences are rounding


class Summary(NamedTuple):
    """One figure of one method over its seeds, in percent."""

    mean: float
    deviation: float | None  # None for a single seed
    seeds: int


class Difference(NamedTuple):
    """A paired difference to the baseline, in percent points."""

    mean: float
    low: float | None  # of the 95 % interval; None for a single seed
    high: float | None
    seeds: int

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def constant(self) -> bool:
        """Whether all pairs differ by the same amount, so that their spread does not measure chance."""
        return self.low is not None and self.high is not None and self.high - self.low < _SAME


class Row(NamedTuple):
    """A study's figures of one method in one setting."""

    method: str
    hash: str
    label: str  # the method's name, with the hash if it has several rows
    setting: str
    summaries: dict[str, Summary]  # figure -> summary over its seeds
    differences: dict[str, Difference]  # figure -> difference to the baseline in its setting; empty for that
    members: list[dict[str, Any]]


def rows_of(members: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Summarise a study's members by method; members with changed settings form a separate row.

    Comparable rows are adjacent, the baseline first.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for member in members:
        groups.setdefault((member["method"], member["hash"]), []).append(dict(member))
    names = [method for method, _ in groups]
    baselines = {own[0]["setting"]: own for (method, _), own in groups.items() if method == BASELINE}
    rows = []
    for (method, hash_), own in groups.items():
        setting = own[0]["setting"]
        against = baselines.get(setting, []) if method != BASELINE else []
        rows.append(
            Row(
                method=method,
                hash=hash_,
                label=method if names.count(method) == 1 else f"{method} ({hash_[:6]})",
                setting=setting,
                summaries={name: s for name in FIGURES if (s := summary(values_of(own, name).values()))},
                differences={
                    name: d for name in FIGURES if (d := difference(values_of(own, name), values_of(against, name)))
                },
                members=own,
            )
        )
    settings = list(dict.fromkeys(row.setting for row in rows))
    return sorted(rows, key=lambda row: (settings.index(row.setting), row.method != BASELINE))


def summary(values: Any) -> Summary | None:
    """Summarise values; None without any.

    >>> summary([1.0, 3.0])
    Summary(mean=2.0, deviation=1.4142135623730951, seeds=2)
    """
    values = list(values)
    if not values:
        return None
    return Summary(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def difference(method: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Compare two methods over their common seeds; None without any.

    >>> found = difference({0: 3.0, 1: 4.0}, {0: 2.0, 1: 1.0, 2: 9.0})
    >>> found.mean, round(found.low, 3), round(found.high, 3), found.seeds
    (2.0, -10.706, 14.706, 2)
    """
    pairs = [method[seed] - baseline[seed] for seed in method if seed in baseline]
    if not pairs:
        return None
    mean, count = statistics.mean(pairs), len(pairs)
    if count == 1:
        return Difference(mean, None, None, 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * statistics.stdev(pairs) / count**0.5
    return Difference(mean, mean - half, mean + half, count)


def values_of(members: Sequence[Mapping[str, Any]], figure: str) -> dict[int, float]:
    """Return a figure's values by seed."""
    return {m["seed"]: m["metrics"][figure] for m in members if m["metrics"][figure] is not None}
