import math

import pytest

from rdrkd.diagnostics.guard import STEPS, InertGuard
from rdrkd.errors import TermInertError


def _observe(guard: InertGuard, value: float, norm: float, steps: int, objects: int = 5) -> None:
    for _ in range(steps):
        guard.observe({"regenerated": (value, norm)}, objects)


def test_a_term_that_reaches_the_student_once_is_proven() -> None:
    guard = InertGuard(["regenerated"])
    _observe(guard, 3.0, 0.1, 1)
    assert not guard.watching
    _observe(guard, 0.0, 0.0, 2 * STEPS)


@pytest.mark.parametrize(("value", "norm"), [(0.0, 0.0), (3.0, 0.0), (math.nan, 1.0), (3.0, math.inf)])
def test_an_inert_term_fails_the_run_and_says_what_was_seen(value: float, norm: float) -> None:
    guard = InertGuard(["regenerated"])
    _observe(guard, value, norm, STEPS - 1)
    with pytest.raises(TermInertError, match=f"regenerated: value {value:g}, gradient norm {norm:g}"):
        _observe(guard, value, norm, 1)


def test_batches_without_objects_do_not_count() -> None:
    guard = InertGuard(["regenerated"])
    _observe(guard, 0.0, 0.0, 3 * STEPS, objects=0)
    assert guard.watching


def test_amp_may_overflow_at_first() -> None:
    guard = InertGuard(["regenerated"])
    _observe(guard, 3.0, math.inf, STEPS - 1)
    _observe(guard, 3.0, 0.1, 1)
    assert not guard.watching
