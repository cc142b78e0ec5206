import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdrkd.study.results import FIGURES
from rdrkd.study.statistics import difference, rows_of, summary


def member(method: str, seed: int, ap: float, hash: str | None = None, setting: str = "s") -> dict[str, Any]:
    metrics = {name: None if name == "AP_L" else ap for name in FIGURES}
    return {"method": method, "seed": seed, "hash": hash or method, "setting": setting, "metrics": metrics}


def test_interval_by_hand() -> None:
    # differences 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.302653, half width 4.302653 / sqrt(3)
    found = difference({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert found is not None
    assert (found.mean, found.seeds) == (2.0, 3)
    assert found.high == pytest.approx(2 + 4.302652729911275 / math.sqrt(3))
    assert found.low == pytest.approx(2 - 4.302652729911275 / math.sqrt(3))
    assert not found.significant


def test_what_the_seed_decides_for_both_does_not_widen_the_interval() -> None:
    found = difference({0: 11.0, 1: 21.2, 2: 31.1}, {0: 10.0, 1: 20.0, 2: 30.0})
    assert found is not None
    assert found.significant
    assert found.mean == pytest.approx(1.1)


def test_one_seed_has_no_interval_and_none_no_difference() -> None:
    one = difference({0: 2.0, 1: 5.0}, {0: 1.0})
    assert one is not None
    assert (one.mean, one.low, one.high, one.significant) == (1.0, None, None, False)
    assert difference({0: 1.0}, {1: 1.0}) is None
    assert summary([]) is None


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8), st.floats(-5, 5))
def test_a_constant_gain_is_found_as_it_is(baseline: list[float], gain: float) -> None:
    base = dict(enumerate(baseline))
    found = difference({seed: value + gain for seed, value in base.items()}, base)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low - 1e-6 <= gain <= found.high + 1e-6
    assert found.mean == pytest.approx(gain, abs=1e-9)


def test_rows_compare_within_one_setting_only() -> None:
    members = [
        *(member("none", seed, 10.0 + seed) for seed in range(3)),
        *(member("rdr-kd", seed, 12.0 + seed) for seed in range(3)),
        member("none", 0, 50.0, hash="other", setting="other"),
        member("rdr-kd", 0, 51.0, hash="rdr-other", setting="other"),
    ]
    rows = {row.hash: row for row in rows_of(members)}
    assert list(rows) == ["none", "rdr-kd", "other", "rdr-other"]
    assert rows["rdr-kd"].differences["AP"].mean == pytest.approx(2.0)
    assert rows["rdr-other"].differences["AP"] == (1.0, None, None, 1)
    assert rows["none"].differences == {}
    assert rows["none"].summaries["AP"] == (11.0, 1.0, 3)
    assert "AP_L" not in rows["none"].summaries


def test_the_baseline_comes_first_among_the_rows_that_it_is_compared_with() -> None:
    members = [
        member("a", 0, 1.0), member("none", 0, 1.0), member("b", 0, 1.0), member("a", 0, 1.0, "a2", "t"),
        member("none", 0, 1.0, "none2", "t"),
    ]  # fmt: skip
    assert [row.hash for row in rows_of(members)] == ["none", "a", "b", "none2", "a2"]


def test_equal_differences_are_called_constant() -> None:
    base = {0: 1.1, 1: 2.2, 2: 3.3}
    for gain in (0.0, 0.7):
        found = difference({seed: value + gain for seed, value in base.items()}, base)
        assert found is not None
        assert found.constant
    spread, single = difference({0: 1.0, 1: 1.001}, {0: 0.0, 1: 0.0}), difference({0: 1.0}, {0: 0.0})
    assert spread is not None
    assert single is not None
    assert not spread.constant
    assert not single.constant


def test_a_method_without_its_baseline_is_not_compared() -> None:
    (row,) = rows_of([member("rdr-kd", 0, 1.0)])
    assert row.differences == {}
