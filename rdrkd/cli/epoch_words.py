"""An epoch in words: with a baseline, whose training it belongs to, and its number within that training."""

from collections.abc import Mapping
from typing import Any

from rdrkd.epochs import ALONE, CALLED, Place

DONE = "succeeded"  # status of a job whose result, the distilled student, is what matters


def words_of(place: Place, baseline: bool) -> str:
    """Write a place for people.

    >>> words_of(Place("alone", 3, 10), True), words_of(Place("student", 3, 10), False)
    ('student alone, epoch 3/10', 'epoch 3/10')
    """
    who = f"{CALLED[place.part]}, " if baseline and place.part else ""
    return f"{who}epoch {place.part_epoch}/{place.part_epochs}"


def place_in_view(shown: Mapping[str, Any]) -> Place:
    """Return the place of what the service shows with an epoch: a job, a file, an event's data."""
    return Place(*(shown.get(name) for name in Place._fields))


def cell_of(shown: Mapping[str, Any]) -> str | None:
    """Write the place of what the service shows for a table; None without an epoch.

    >>> cell_of({"part": "alone", "part_epoch": 3, "part_epochs": 10}), cell_of({"part": None})
    ('3/10 alone', None)
    """
    place = place_in_view(shown)
    if not place.part_epoch:
        return None
    suffix = " alone" if place.part == ALONE and shown.get("status") != DONE else ""
    return f"{place.part_epoch}/{place.part_epochs}{suffix}"
