"""Number formats of a report."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby


def number(value: float | None) -> str:
    """Write a number with three significant digits, or all digits before the point; a dash for None.

    >>> number(0.034852), number(999.9), number(20215.17), number(1e-05), number(-0.5), number(None)
    ('0.0349', '1000', '20215', '1e-05', '-0.5', '-')
    """
    if value is None:
        return "-"
    return f"{value:.0f}" if 100 <= abs(value) < 1e9 else f"{value:.3g}"


def share(value: float | None) -> str:
    """Write a share in percent.

    >>> share(0.2958), share(None)
    ('29.6%', '-')
    """
    return "-" if value is None else f"{value:.1%}"


def way(values: Sequence[float], write: Callable[[float], str]) -> str:
    """Write values in order, merging consecutive ones that read the same; empty without values.

    >>> way([0.01, 0.1, 0.1, 0.02], number)
    '0.01 → 0.1 → 0.02'
    """
    return " → ".join(text for text, _ in groupby(write(value) for value in values))


def span(values: Sequence[float], write: Callable[[float], str]) -> str:
    """Write the first and the last value, or one if they read the same; empty without values.

    >>> span([812.0, 500.0, 240.0], number), span([0.1, 0.1], number)
    ('812 → 240', '0.1')
    """
    return way([values[0], values[-1]], write) if values else ""


def epochs(numbers: Iterable[int]) -> str:
    """Write epoch numbers as text, in order.

    >>> epochs([3]), epochs([1, 9, 10, 11]), epochs([1, 3])
    ('epoch 3', 'epochs 1 and 9 to 11', 'epochs 1 and 3')
    """
    each = sorted(set(numbers))
    runs = [[number for _, number in own] for _, own in groupby(enumerate(each), lambda place: place[1] - place[0])]
    said = [str(own[0]) if len(own) == 1 else f"{own[0]} to {own[-1]}" for own in runs]
    listed = " and ".join(filter(None, [", ".join(said[:-1]), said[-1]]))
    return f"epoch{'s' if len(each) > 1 else ''} {listed}"
