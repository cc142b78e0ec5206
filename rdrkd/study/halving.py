"""Successive halving over seeds: all candidates get a few seeds, the best of them more.

Candidates are all distillation methods except the study's lead, with which they are compared. Lead, baseline and
controls get every seed. A decision depends on the figures of its rung only, so a resumed study decides alike.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rdrkd.errors import SpecError
from rdrkd.spec.study import Study
from rdrkd.study.statistics import values_of


def rungs_of(text: str, seeds: int) -> tuple[int, ...]:
    """Parse the number of seeds of each rung.

    Raises:
        SpecError: they are not rising numbers up to the number of seeds.

    >>> rungs_of("1,2,5", 5)
    (1, 2, 5)
    """
    parts = text.split(",")
    found = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(found) != len(parts) or found != tuple(sorted({n for n in found if 1 <= n <= seeds})):
        raise SpecError(f"expected rising numbers of seeds from 1 to {seeds}, such as 1,2,{seeds}, got {text!r}")
    return found


def survivors(study: Study, alive: Sequence[str], members: Sequence[Mapping[str, Any]], keep: float) -> list[str]:
    """Return the methods that survive a rung, in the study's order.

    Args:
        study: the study.
        alive: names of the methods that took part.
        members: recorded members of this rung.
        keep: share of the candidates that survives, rounded up.
    """
    candidates = [
        method.name
        for method in study.each_method
        if method.name in alive and method.distillation.recipe.terms and method.name != study.lead
    ]
    gains = {name: _gain(name, study.lead, members) for name in candidates}
    judged = sorted((name for name in candidates if gains[name] is not None), key=lambda name: -(gains[name] or 0.0))
    kept = judged[: math.ceil(keep * len(candidates))]
    return [name for name in alive if name not in candidates or name in kept]


def note(seeds: int, before: Sequence[str], after: Sequence[str], lead: str | None) -> list[str]:
    """Return a note on the methods that a rung has dropped."""
    dropped = [name for name in before if name not in after]
    if not dropped:
        return []
    return [f"successive halving: after {seeds} seeds, by mean paired AP to {lead}, no further: {', '.join(dropped)}"]


def _gain(name: str, lead: str | None, members: Sequence[Mapping[str, Any]]) -> float | None:
    """Return a candidate's mean paired difference in AP to the lead; None without a pair."""
    own, others = (values_of([m for m in members if m["method"] == which], "AP") for which in (name, lead))
    pairs = [own[seed] - others[seed] for seed in own if seed in others]
    return statistics.mean(pairs) if pairs else None
