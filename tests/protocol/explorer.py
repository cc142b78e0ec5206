"""An exhaustive explorer: visit every state that a model can reach, breadth first, so that its traces are shortest."""

from collections import deque
from dataclasses import dataclass, field

from tests.protocol.model import Model, World, at_rest, canonical, wrong


@dataclass
class Found:
    """What an exploration has found."""

    states: list[World] = field(default_factory=list)  # in the order in which they were reached
    broken: tuple[str, list[str]] | None = None  # the property, and the shortest trace to a step that breaks it
    stuck: list[str] | None = None  # the shortest trace to a state from which fair steps alone lead to no rest


def explore(model: Model) -> Found:
    """Visit every state, or stop at the first unsafe step; then look for states from which fair steps never reach rest.

    Under strong fairness (a step that is possible again and again is taken) and in a finite graph, "rest can be reached
    from everywhere" is the same as "rest is reached".
    """
    first = model.first()
    numbers: dict[World, int] = {first: 0}  # of states as they were met, and of those that stand for them
    came: list[tuple[int, str]] = [(-1, "")]  # of each state: from which, by which step
    before: list[list[int]] = [[]]  # of each state: those that lead to it by a fair step
    found = Found([first])
    waiting = deque([0])
    while waiting:
        number = waiting.popleft()
        world = found.states[number]
        for name, after, fair in model.steps(world):
            if (violated := wrong(world, after)) is not None:
                found.broken = violated, [*_trace(came, number), name]
                return found
            if (reached := numbers.get(after)) is None:
                same = canonical(after)
                reached = numbers[after] = numbers.setdefault(same, len(found.states))
                if reached == len(found.states):
                    found.states.append(same)
                    came.append((number, name))
                    before.append([])
                    waiting.append(reached)
            if fair:
                before[reached].append(number)
    well = _leading_to({n for n, world in enumerate(found.states) if at_rest(world)}, before)
    stuck = next((n for n in range(len(found.states)) if n not in well), None)
    found.stuck = None if stuck is None else _trace(came, stuck)
    return found


def _trace(came: list[tuple[int, str]], number: int) -> list[str]:
    names: list[str] = []
    while number > 0:
        number, name = came[number]
        names.append(name)
    return names[::-1]


def _leading_to(goal: set[int], before: list[list[int]]) -> set[int]:
    reached, waiting = set(goal), deque(goal)
    while waiting:
        for number in before[waiting.popleft()]:
            if number not in reached:
                reached.add(number)
                waiting.append(number)
    return reached
