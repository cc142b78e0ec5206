"""The plots' axes; what a whole report draws is looked at in test_runner.py."""

from typing import Any

import pytest
from matplotlib.axes import Axes

from rdrkd.study.figures import curves_of, differences_of, draw_curves, draw_differences
from rdrkd.study.statistics import rows_of
from tests.rdrkd.study.test_report import member


def curves(*values: float) -> Axes:
    """The axes of a study of two seeds with this curve each."""
    curve = [{"mAP50_95": value} for value in values]
    figure = curves_of(rows_of([member("none", seed, 1.0, curve=curve) for seed in (0, 1)]))
    assert figure is not None
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return axes


def shown_ticks(axis: Any) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


@pytest.mark.parametrize(
    ("epochs", "ticks"), [(1, ["1"]), (2, ["1", "2"]), (5, ["1", "2", "3", "4", "5"]), (30, ["5", "10"])]
)
def test_epochs_are_whole_numbers(epochs: int, ticks: list[str]) -> None:
    shown = shown_ticks(curves(*(float(epoch) for epoch in range(epochs))).xaxis)
    assert shown[: len(ticks)] == ticks
    assert all(text.isdecimal() and 1 <= int(text) <= epochs for text in shown)


def test_a_curve_of_one_epoch_is_seen() -> None:
    axes = curves(12.5)
    (line,) = axes.lines
    assert line.get_marker() not in ("", "None", None)
    assert list(line.get_xydata()[0]) == [1.0, 12.5]  # type: ignore[index]
    assert axes.get_xlim() == (0.5, 1.5)


@pytest.mark.parametrize("values", [(30.00001, 30.00002, 30.00003), (0.00001, 0.00002), (1e7, 2e7)])
def test_no_axis_has_an_offset_or_a_power_of_ten_above_it(values: tuple[float, ...]) -> None:
    axes = curves(*values)
    shown = shown_ticks(axes.yaxis)
    assert len(set(shown)) == len(shown) > 1, "each height has a number of its own"
    assert axes.yaxis.get_offset_text().get_text() == ""
    methods = [member("none", 0, 0.0), member("none", 1, 0.0)]
    methods += [member("rdr-kd", seed, value) for seed, value in enumerate(values[:2])]
    figure = differences_of(rows_of(methods))
    assert figure is not None
    figure.draw_without_rendering()
    assert [each.xaxis.get_offset_text().get_text() for each in figure.axes] == [""] * len(figure.axes)


def test_without_curves_or_pairs_nothing_is_drawn() -> None:
    rows = rows_of([member("rdr-kd", 0, 1.0, curve=[])])
    assert draw_curves(rows) is None
    assert draw_differences(rows) is None
