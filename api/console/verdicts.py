"""Sentences on whether a method of a study beats the student alone, as in the report (`rdrkd.study.statistics`).

The service must not import scipy, from which the report has Student's t.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, mean, stdev

from rdrkd.run_warnings import NOTHING

_FEW = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # t(0.975) with 1, 2, ... degrees of freedom
_SAME = 1e-6  # percentage points: figures have three decimals, smaller differences are rounding


def verdict(pairs: Sequence[tuple[float, float]]) -> str:
    """Return a sentence on a method's differences to the student alone, by their 95 % interval.

    Args:
        pairs: for each seed, AP with the method and AP of the student alone, percent.

    >>> verdict([(12.0, 10.0), (13.0, 10.0), (12.5, 10.0)])
    'AP +2.50 points [+1.26, +3.74] over 3 seeds: better than the student alone.'
    >>> verdict([(9.0, 10.0), (13.0, 10.0)])
    'AP +1.00 points [-24.41, +26.41] over 2 seeds: no difference shown yet; more seeds narrow the interval.'
    >>> verdict([(12.0, 10.0)]), verdict([])
    ('AP +2.00 points with 1 seed: one seed proves nothing.', 'nothing to compare yet.')
    >>> verdict([(0.0, 0.0), (0.2, 0.1)])
    'neither it nor the student alone has learnt anything (AP below 1 %): train for more epochs.'
    """
    if not pairs:
        return "nothing to compare yet."
    if max(max(pair) for pair in pairs) < NOTHING:
        return (
            f"neither it nor the student alone has learnt anything (AP below {NOTHING:.0f} %): train for more epochs."
        )
    gains = [method - alone for method, alone in pairs]
    middle = mean(gains)
    if len(gains) == 1:
        return f"AP {middle:+.2f} points with 1 seed: one seed proves nothing."
    half = t975(len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
    said = f"AP {middle:+.2f} points [{middle - half:+.2f}, {middle + half:+.2f}] over {len(gains)} seeds"
    if 2 * half < _SAME:
        return f"{said}: the same with every seed, so their spread tells nothing of chance."
    if abs(middle) <= half:
        return f"{said}: no difference shown yet; more seeds narrow the interval."
    return f"{said}: {'better' if middle > 0 else 'worse'} than the student alone."


def t975(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t; from 10 degrees of freedom by its expansion, to 2e-4.

    >>> t975(2), round(t975(30), 3)
    (4.303, 2.042)
    """
    if freedom <= len(_FEW):
        return _FEW[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
