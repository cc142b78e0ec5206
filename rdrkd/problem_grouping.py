"""Group problems that are equal in many places into one, with a count and the first places."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rdrkd.errors import Problem

MOST_PLACES = 3  # places named per group; up to as many equal problems are listed separately
MOST_KINDS = 100  # distinct details kept; problems with further ones are only counted


@dataclass
class Grouped:
    """Any number of problems, grouped, in order of first occurrence.

    Attributes:
        total: number of problems, listed or not.
    """

    total: int = 0
    _places: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems, keeping the first places of each kind."""
        for problem in problems:
            self.total += 1
            if problem.detail not in self._counts and len(self._counts) >= MOST_KINDS:
                continue
            places = self._places.setdefault(problem.detail, [])
            if len(places) < MOST_PLACES:
                places.append((self.total, problem.where))
            self._counts[problem.detail] = self._counts.get(problem.detail, 0) + 1

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
        for detail, kept in self._places.items():
            places = [(number, (called or {}).get(place, place)) for number, place in kept]
            if (count := self._counts[detail]) > MOST_PLACES:
                shown = ", ".join(place for _, place in places)
                found.append((places[0][0], Problem(places[0][1], f"{detail} ({count} times: {shown}, ...)"), count))
            else:
                found += [(number, Problem(place, detail), 1) for number, place in places]
        found.sort(key=lambda entry: entry[0])
        return [(problem, count) for _, problem, count in found[:most]]
