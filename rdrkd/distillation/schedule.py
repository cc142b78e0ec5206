"""The schedule's factor on all terms over a training."""

import math

from rdrkd.spec import Schedule


def factor(schedule: Schedule, epoch: float, epochs: int) -> float:
    """Return the factor at a point of a training.

    Args:
        schedule: the schedule.
        epoch: finished epochs, with fractions.
        epochs: epochs of the whole training.

    >>> [round(factor(Schedule(shape="linear", end=0.2, warmup_epochs=2), e, 10), 2) for e in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.6, 0.2]
    >>> factor(Schedule(stop_epochs=3), 6.9, 10), factor(Schedule(stop_epochs=3), 7, 10)
    (1.0, 0.0)
    """
    last = epochs - schedule.stop_epochs
    if schedule.stop_epochs and epoch >= last:
        return 0.0
    if epoch < schedule.warmup_epochs:
        return epoch / schedule.warmup_epochs
    if schedule.shape == "constant" or last <= schedule.warmup_epochs:
        return 1.0
    way = min((epoch - schedule.warmup_epochs) / (last - schedule.warmup_epochs), 1.0)
    fall = way if schedule.shape == "linear" else (1 - math.cos(math.pi * way)) / 2
    return 1 - (1 - schedule.end) * fall
