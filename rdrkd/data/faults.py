"""Faults of an upload: reasons to refuse it or, in lenient mode, items to leave out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rdrkd.errors import DatasetError, Problem

MOST_LISTED = 1000  # dropped items that are listed; further ones are only counted
INCOMPLETE = "one of its boxes was left out; without it the image would mislead"
Kind = Literal["images", "lines", "annotations", "files"]


@dataclass
class Faults:
    """Faults of single images, label lines, annotations and annotation files.

    Attributes:
        lenient: leave out faulty items instead of refusing the dataset.
        keep: in lenient mode, keep an image that loses one of its boxes; by default it is dropped, as it would teach
            that there is no object.
        warnings: corrections and omissions, a sentence each.
        problems: in strict mode, all faults.
        dropped: in lenient mode, the first MOST_LISTED dropped items.
        counts: in lenient mode, the number of dropped items of each kind.
    """

    lenient: bool = False
    keep: bool = False
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    dropped: list[Problem] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)

    def add(self, kind: Kind, problems: Iterable[Problem]) -> None:
        """Add faults of one kind, a problem for each."""
        for problem in problems:
            if not self.lenient:
                self.problems.append(problem)
                continue
            self.counts[kind] += 1
            if len(self.dropped) < MOST_LISTED:
                self.dropped.append(problem)

    def drop_incomplete(self, where: str) -> bool:
        """Drop an image that lost a box, in lenient mode; return whether it is dropped."""
        if not self.lenient or self.keep:
            return False
        self.add("images", [Problem(where, INCOMPLETE)])
        return True

    def drop_unlabelled(self, where: str, strays: int) -> bool:
        """Drop an image without boxes if its file has annotations without a known image; return whether dropped.

        Args:
            where: the image.
            strays: number of such annotations in its file.
        """
        if not self.lenient or self.keep:
            return False
        detail = f"it has no annotation, while {strays} of its file name no image; it may not be background"
        self.add("images", [Problem(where, detail)])
        return True

    @property
    def total(self) -> int:
        """Count the dropped items."""
        return sum(self.counts.values())

    def refuse(self) -> None:
        """Refuse the upload.

        Raises:
            DatasetError: there are problems, in strict mode.
        """
        if self.problems:
            first = self.problems[0]
            raise DatasetError(f"{first.where}: {first.detail}", self.problems)

    def notes(self) -> dict[str, Any]:
        """Return the dropped items as JSON: `counts` by kind, `listed` ({where, detail} each), number of `more`."""
        listed = [asdict(problem) for problem in self.dropped]
        return {"counts": dict(self.counts), "listed": listed, "more": self.total - len(listed)}
