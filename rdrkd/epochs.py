"""The epochs of a job with a baseline: whose training each belongs to, and its number within that training.

A run numbers its epochs through (`rdrkd.training.part`), because checkpoints are of the whole run. What people and
clients see is counted from 1 in the training of the student and in that of the student alone.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Part = Literal["student", "alone"]
STUDENT: Part = "student"
ALONE: Part = "alone"
CALLED = {"student": "student", "alone": "student alone"}


class Place(NamedTuple):
    """An epoch within its own training; all None without an epoch.

    Attributes:
        part: whose training: of the distilled student or single network, or of the student alone.
        part_epoch: 1-based number.
        part_epochs: of this training.
    """

    part: Part | None = None
    part_epoch: int | None = None
    part_epochs: int | None = None


def place_of(epoch: int, own: int, baseline: bool) -> Place:
    """Find an epoch's place.

    Args:
        epoch: 1-based, counted through both trainings.
        own: epochs of one training.
        baseline: whether the student is trained alone, too, for as many epochs.

    >>> place_of(13, 10, True), place_of(13, 20, False)
    (Place(part='alone', part_epoch=3, part_epochs=10), Place(part='student', part_epoch=13, part_epochs=20))
    """
    return Place(ALONE, epoch - own, own) if baseline and epoch > own else Place(STUDENT, epoch, own)


def place_in(spec: Mapping[str, Any], epoch: int | None, file: str = "") -> Place:
    """Find the place of an epoch of a job, or of the epoch after which a file was written.

    Args:
        spec: the job's, as submitted.
        epoch: 1-based, counted through both trainings; None or 0: there is none.
        file: name of the file. The student's weights stay those of its training while it is trained alone; other files
            of that time, but for the weights of the student alone, such as the report, are of the whole job.

    >>> place_in({"train": {"epochs": 2}, "baseline": True}, 4, "student.pt")
    Place(part='student', part_epoch=2, part_epochs=2)
    >>> place_in({"train": {"epochs": 2}, "baseline": True}, 4, "report.html")
    Place(part=None, part_epoch=None, part_epochs=None)
    """
    if not epoch:
        return Place()
    own = (spec.get("train") or {}).get("epochs")
    if own is None:
        from rdrkd.spec.training import TrainSettings  # takes a while, and most specs have a number

        own = TrainSettings.model_fields["epochs"].default
    of, baseline = file.partition(".")[0], bool(spec.get("baseline"))
    if baseline and epoch > own and of not in ("", STUDENT, ALONE):
        return Place()
    return place_of(min(epoch, own) if of == STUDENT else epoch, own, baseline)
