from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from rdrkd.study.ranking import holm, p_value, rankings
from rdrkd.study.results import FIGURES
from rdrkd.study.statistics import rows_of


def members(method: str, *values: float, setting: str = "s") -> list[dict[str, Any]]:
    return [
        {"method": method, "seed": seed, "hash": f"{method}-{setting}", "setting": setting,
         "metrics": dict.fromkeys(FIGURES, value)}
        for seed, value in enumerate(values)
    ]  # fmt: skip


def places(*groups: list[dict[str, Any]]) -> list[list[tuple[str, tuple[str, ...]]]]:
    rows = rows_of([member for group in groups for member in group])
    return [[(place.row.label, place.tied) for place in order] for order in rankings(rows)]


def test_the_best_comes_first_and_what_the_seeds_explain_is_a_tie() -> None:
    found = places(
        members("none", 10.0, 11.0, 9.0, 10.5), members("close", 10.1, 10.9, 9.3, 10.4),
        members("better", 15.0, 16.1, 13.9, 15.6),
    )  # fmt: skip
    assert found == [[("better", ()), ("close", ("none",)), ("none", ())]]


def test_methods_of_other_settings_are_not_ranked_together() -> None:
    found = places(members("none", 1.0), members("none", 9.0, setting="other"), members("a", 2.0, setting="other"))
    assert found == [[("none (none-o)", ("a",)), ("a", ())]]


def test_one_seed_tells_nothing_apart() -> None:
    assert places(members("none", 1.0), members("a", 90.0)) == [[("a", ("none",)), ("none", ())]]


def test_with_many_methods_a_difference_must_be_larger() -> None:
    # p = 0.0123 for this pair: apart by itself, not among 45 pairs of which the others are noise
    base, better = (10.0, 10.0, 10.0, 10.0), (11.0, 11.6, 12.2, 11.2)
    assert 0.005 < p_value(dict(enumerate(better)), dict(enumerate(base))) < 0.02
    assert places(members("none", *base), members("better", *better)) == [[("better", ()), ("none", ())]]
    noise = [members(f"noise{n}", *(10.0 + 0.01 * n + x for x in (-0.5, 0.4, -0.3, 0.6))) for n in range(8)]
    (order,) = places(members("none", *base), members("better", *better), *noise)
    assert dict(order)["better"] == tuple(label for label, _ in order[1:])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=8))
def test_p_values_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    assume(len({a - b for a, b in pairs}) > 1)
    expected = stats.ttest_rel(one, other).pvalue
    assert p_value(dict(enumerate(one)), dict(enumerate(other))) == pytest.approx(expected, abs=1e-9)


def test_a_constant_difference_is_certain_and_none_is_nothing() -> None:
    assert p_value({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}) == 0
    assert p_value({0: 2.0, 1: 3.0}, {0: 2.0, 1: 3.0}) == 1


def test_holm_by_hand() -> None:
    # 0.01 <= 0.05/4, 0.015 <= 0.05/3, 0.03 > 0.05/2: it and all after it stand
    assert holm([0.03, 0.01, 0.04, 0.015]) == [False, True, False, True]
    assert holm([]) == []
