"""Group problems of one kind in many places into one, with a count and the first places."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rdrkd.errors import Problem

MOST_PLACES = 3  # places named per group; up to as many equal problems are listed separately
MOST_KINDS = 100  # kinds kept; problems of further ones are only counted
_PARTICULAR = re.compile(r"'[^']*'|\S*(?:\d|\w[./]\w)\S*")  # a quoted text, a number, a path or the name of a file


def kind_of(detail: str) -> str:
    """Return a problem's detail without the names, values and numbers of the one case.

    >>> kind_of("expected the label file a.txt, got a.TXT"), kind_of("expected 5 numbers, got '0 0,5 0,5 0,1 0,1'")
    ('expected the label file # got #', 'expected # numbers, got #')
    """
    return _PARTICULAR.sub("#", detail)


@dataclass
class Grouped:
    """Any number of problems, grouped by kind, in order of first occurrence.

    Attributes:
        total: number of problems, listed or not.
    """

    total: int = 0
    _first: dict[str, list[tuple[int, Problem]]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _equal: dict[str, bool] = field(default_factory=dict)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems, keeping the first places of each kind."""
        for problem in problems:
            self.total += 1
            kind = kind_of(problem.detail)
            if kind not in self._counts and len(self._counts) >= MOST_KINDS:
                continue
            first = self._first.setdefault(kind, [])
            if len(first) < MOST_PLACES:
                first.append((self.total, problem))
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._equal[kind] = self._equal.get(kind, True) and problem.detail == first[0][1].detail

    def listed(self, most: int, called: Mapping[str, str] | None = None) -> tuple[list[Problem], int]:
        """Return at most `most` grouped problems, and the number of problems in none of them.

        Args:
            most: largest number of problems to return.
            called: place -> another name for it.
        """
        found = self.counted(most, called)
        return [problem for problem, _ in found], self.total - sum(count for _, count in found)

    def counted(self, most: int, called: Mapping[str, str] | None = None) -> list[tuple[Problem, int]]:
        """Return at most `most` grouped problems, each with the number of problems that it stands for."""
        found: list[tuple[int, Problem, int]] = []
        for kind, kept in self._first.items():
            first = [(number, replace(one, where=(called or {}).get(one.where, one.where))) for number, one in kept]
            if (count := self._counts[kind]) > MOST_PLACES:
                number, one = first[0]
                shown = ", ".join(each.where for _, each in first)
                times = "times" if self._equal[kind] else "alike"
                found.append((number, replace(one, detail=f"{one.detail} ({count} {times}: {shown}, ...)"), count))
            else:
                found += [(number, one, 1) for number, one in first]
        found.sort(key=lambda entry: entry[0])
        return [(problem, count) for _, problem, count in found[:most]]
