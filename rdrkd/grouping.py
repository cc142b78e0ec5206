"""Problems that are the same in many places become one, with a count and the first places."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rdrkd.errors import Problem

MOST_PLACES = 3  # that are named; as many equal problems are listed one by one
MOST_KINDS = 100  # different details that are kept; of what comes after these, problems are only counted


@dataclass
class Grouped:
    """Problems in the order in which their kinds first came, however many there are.

    Attributes:
        total: how many problems there are, listed or not.
    """

    total: int = 0
    _places: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, problems: Iterable[Problem]) -> None:
        """Take problems, and keep the first places of each kind."""
        for problem in problems:
            self.total += 1
            if problem.detail not in self._counts and len(self._counts) >= MOST_KINDS:
                continue
            places = self._places.setdefault(problem.detail, [])
            if len(places) < MOST_PLACES:
                places.append(problem.where)
            self._counts[problem.detail] = self._counts.get(problem.detail, 0) + 1

    def listed(self, most: int, called: Mapping[str, str] | None = None) -> tuple[list[Problem], int]:
        """Return at most so many problems, and how many more there are in none of them.

        Args:
            most: problems to return.
            called: other names of some places.
        """
        found: list[tuple[Problem, int]] = []
        for detail, kept in self._places.items():
            places, count = [(called or {}).get(place, place) for place in kept], self._counts[detail]
            if count > MOST_PLACES:
                found.append((Problem(places[0], f"{detail} ({count} times: {', '.join(places)}, ...)"), count))
            else:
                found += [(Problem(place, detail), 1) for place in places]
        return [problem for problem, _ in found[:most]], self.total - sum(count for _, count in found[:most])
