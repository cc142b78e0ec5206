"""The ranking of a study's methods, and which of them the seeds cannot tell apart.

Every pair of methods of one setting is compared over their common seeds (paired t test), and the p values are
corrected for the number of pairs (Holm, 1979): otherwise one of twenty comparisons would be "significant" by chance.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from scipy import stats

from rdrkd.study.statistics import CONFIDENCE, Row, Summary, difference, values_of


class Place(NamedTuple):
    """A method's place in the ranking."""

    row: Row
    summary: Summary
    tied: tuple[str, ...]  # labels of lower methods that do not differ significantly


def rankings(rows: Sequence[Row], figure: str = "AP") -> list[list[Place]]:
    """Rank the methods of each setting by their mean, best first; a setting with one method has no ranking.

    Args:
        rows: the study's rows.
        figure: one of `FIGURES`.
    """
    settings = dict.fromkeys(row.setting for row in rows)
    groups = [[row for row in rows if row.setting == setting and figure in row.summaries] for setting in settings]
    return [_ranking(group, figure) for group in groups if len(group) > 1]


def _ranking(rows: Sequence[Row], figure: str) -> list[Place]:
    best_first = sorted(rows, key=lambda row: row.summaries[figure].mean, reverse=True)
    values = [values_of(row.members, figure) for row in best_first]
    pairs = list(combinations(range(len(rows)), 2))
    told_apart = dict(zip(pairs, holm([p_value(values[a], values[b]) for a, b in pairs]), strict=True))
    return [
        Place(
            row, row.summaries[figure],
            tuple(best_first[b].label for b in range(a + 1, len(rows)) if not told_apart[a, b]),
        )
        for a, row in enumerate(best_first)
    ]  # fmt: skip


def p_value(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Return the two-sided p value of a paired t test over the common seeds; 1 for fewer than two.

    >>> round(p_value({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0}), 4)
    0.0742
    """
    found = difference(one, other)
    if found is None or found.low is None:
        return 1.0
    # The interval is mean -/+ t(0.975) x standard error.
    error = (found.mean - found.low) / float(stats.t.ppf((1 + CONFIDENCE) / 2, found.seeds - 1))
    if error == 0:
        return 0.0 if found.mean else 1.0
    return 2 * float(stats.t.sf(abs(found.mean / error), found.seeds - 1))


def holm(p_values: Sequence[float], level: float = 1 - CONFIDENCE) -> list[bool]:
    """Return which hypotheses are rejected at a family-wise error rate of `level` (Holm's step-down).

    >>> holm([0.01, 0.04, 0.03]), holm([0.01, 0.02, 0.03])
    ([True, False, False], [True, True, True])
    """
    rejected = [False] * len(p_values)
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected
