"""What is wrong with an upload, thing by thing: a reason to refuse it, or, in the lenient mode, what is left out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rdrkd.errors import DatasetError, Problem

MOST_LISTED = 1000  # things that are left out and told one by one; beyond that they are counted
Kind = Literal["images", "lines", "annotations", "files"]


@dataclass
class Faults:
    """Faults of single images, label lines, annotations and annotation files.

    Attributes:
        lenient: leave out what is at fault, instead of refusing the whole.
        keep: of a lenient look, keep an image that loses one of its boxes; by default it goes, or it would teach that
            there is nothing.
        warnings: what was mended or passed over, a sentence each.
        problems: of a strict look, all that is wrong.
        dropped: of a lenient one, what was left out, the first MOST_LISTED.
        counts: of a lenient one, how many things of each kind were left out.
    """

    lenient: bool = False
    keep: bool = False
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    dropped: list[Problem] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)

    def add(self, kind: Kind, problems: Iterable[Problem]) -> None:
        """Take what is wrong with things of a kind, a problem for each."""
        for problem in problems:
            if not self.lenient:
                self.problems.append(problem)
                continue
            self.counts[kind] += 1
            if len(self.dropped) < MOST_LISTED:
                self.dropped.append(problem)

    def drop_incomplete(self, where: str) -> bool:
        """Leave out an image that lost a box, in the lenient mode; return whether it goes."""
        if not self.lenient or self.keep:
            return False
        self.add("images", [Problem(where, "one of its boxes was left out; without it the image would mislead")])
        return True

    def drop_unlabelled(self, where: str, strays: int) -> bool:
        """Leave out an image without boxes, to which annotations that name no image may belong; return whether it goes.

        Args:
            where: the image.
            strays: how many such annotations its file has.
        """
        if not self.lenient or self.keep:
            return False
        detail = f"it has no annotation, while {strays} of its file name no image; it may not be background"
        self.add("images", [Problem(where, detail)])
        return True

    @property
    def total(self) -> int:
        """Count what was left out."""
        return sum(self.counts.values())

    def refuse(self) -> None:
        """Refuse the upload.

        Raises:
            DatasetError: a strict look has found problems.
        """
        if self.problems:
            first = self.problems[0]
            raise DatasetError(f"{first.where}: {first.detail}", self.problems)

    def notes(self) -> dict[str, Any]:
        """Return what was left out, as JSON: `counts` by kind, `listed` ({where, detail} each), how many `more`."""
        listed = [asdict(problem) for problem in self.dropped]
        return {"counts": dict(self.counts), "listed": listed, "more": self.total - len(listed)}
