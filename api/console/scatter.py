"""Cost against gain, as positions in a drawing; the Pareto front joins the jobs that no other beats in both."""

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT, MARGIN = 560, 300, 46  # px


def chart(points: Sequence[tuple[str, float | None, float | None]]) -> dict[str, Any] | None:
    """Return the positions of jobs by training time (s) and AP (%), the front, and axis limits; None below two jobs.

    >>> drawn = chart([("a", 10.0, 5.0), ("b", 20.0, 9.0), ("c", 30.0, 7.0)])
    >>> [dot["title"] for dot in drawn["dots"]], drawn["front"].count(" ")
    (['a', 'b', 'c'], 1)
    """
    known = [(title, cost, gain) for title, cost, gain in points if cost is not None and gain is not None]
    if len(known) < 2:
        return None
    costs, gains = [cost for _, cost, _ in known], [gain for _, _, gain in known]

    def place(cost: float, gain: float) -> tuple[float, float]:
        x = MARGIN + (cost - min(costs)) / ((max(costs) - min(costs)) or 1.0) * (WIDTH - 2 * MARGIN)
        y = HEIGHT - MARGIN - (gain - min(gains)) / ((max(gains) - min(gains)) or 1.0) * (HEIGHT - 2 * MARGIN)
        return round(x, 1), round(y, 1)

    dots = [
        {"title": title, "x": place(cost, gain)[0], "y": place(cost, gain)[1], "cost": cost, "gain": gain}
        for title, cost, gain in known
    ]
    front, best = [], float("-inf")
    for _, cost, gain in sorted(known, key=lambda one: (one[1], -one[2])):
        if gain > best:
            front.append(place(cost, gain))
            best = gain
    return {
        "dots": dots, "front": " ".join(f"{x},{y}" for x, y in front),
        "width": WIDTH, "height": HEIGHT, "margin": MARGIN,
        "costs": (min(costs), max(costs)), "gains": (min(gains), max(gains)),
    }  # fmt: skip
