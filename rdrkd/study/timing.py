"""Train the student alone for as long as a method took: the number of epochs, and the stretched schedule.

On a CPU, processor time is used if all members have it: other load on the machine hardly affects it.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rdrkd.study.members import BASELINE, Member

_LONGEST = 10_000  # epochs of a training
_SCHEDULE = {"warmup_epochs": 100, "close_mosaic": 10_000, "patience": 10_000}  # counted in epochs -> maximum


def seconds_of(members: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the seconds of each recorded member: processor time if all have it, else wall-clock time."""
    processor = all(member.get("processor_seconds") for member in members)
    return [float(member["processor_seconds" if processor else "seconds"]) for member in members]


def factor(method: str, members: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the ratio of a method's seconds per epoch to the student alone's; None unless both have been trained.

    Args:
        method: the method.
        members: recorded members of one study: method, epochs, seconds.
    """
    both = [[member for member in members if member["method"] == name] for name in (method, BASELINE)]
    if not all(both):
        return None
    each = [*both[0], *both[1]]
    per_epoch: list[float] = [
        seconds / member["epochs"] for seconds, member in zip(seconds_of(each), each, strict=True)
    ]
    count = len(both[0])
    return max(1.0, round(statistics.median(per_epoch[:count]) / statistics.median(per_epoch[count:]), 3))


def stretched(member: Member, times: float) -> Member:
    """Return a member with its training stretched: epochs, warm-up, the end without mosaic, and patience.

    >>> train = {"epochs": 8, "warmup_epochs": 1, "close_mosaic": 1}
    >>> stretched(Member("none@time", 0, "h", "s", {"train": train}, False), 2.4).spec["train"]
    {'epochs': 19, 'warmup_epochs': 2.4, 'close_mosaic': 2}
    """
    return replace(member, spec=stretched_spec(member.spec, times), stretched=times)


def stretched_spec(spec: Mapping[str, Any], times: float) -> dict[str, Any]:
    """Return a training's job spec with the training stretched."""
    train = dict(spec["train"])
    train["epochs"] = min(_LONGEST, round(train["epochs"] * times))
    for name, most in _SCHEDULE.items():
        if name in train:
            longer = min(float(most), train[name] * times)
            train[name] = round(longer, 3) if name == "warmup_epochs" else round(longer)
    return {**spec, "train": train}
