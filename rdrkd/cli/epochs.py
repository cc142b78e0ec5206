"""An epoch in words: whose training it belongs to, and its number within that training."""

from typing import NamedTuple


class Place(NamedTuple):
    """An epoch within its own training.

    Attributes:
        who: `student` or `student alone`; None in a run that trains a single network.
        epoch: 1-based number.
        epochs: of this training.
    """

    who: str | None
    epoch: int
    epochs: int

    def __str__(self) -> str:
        """Write it for people: `student alone, epoch 3/10`."""
        count = f"epoch {self.epoch}/{self.epochs}"
        return count if self.who is None else f"{self.who}, {count}"


def place_of(epoch: int, epochs: int, baseline: bool) -> Place:
    """Find an epoch's place; with a baseline, events and jobs count the student's epochs and then the baseline's.

    Args:
        epoch: 1-based, counted through both trainings.
        epochs: of both trainings together.
        baseline: whether the student is trained alone, too, for as many epochs.

    >>> str(place_of(3, 20, True)), str(place_of(13, 20, True)), str(place_of(13, 20, False))
    ('student, epoch 3/10', 'student alone, epoch 3/10', 'epoch 13/20')
    """
    own = epochs // 2
    if not baseline:
        return Place(None, epoch, epochs)
    return Place("student alone", epoch - own, own) if epoch > own else Place("student", epoch, own)
