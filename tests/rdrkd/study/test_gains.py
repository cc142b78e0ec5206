"""Gains at equal epochs and at equal time, the verdict by a study's rule, and the length of a control."""

from pathlib import Path
from typing import Any

import pytest

from rdrkd.spec.deciding import Decide
from rdrkd.study.decision import judge, seeds_to_decide, verdict
from rdrkd.study.figures import differences_of
from rdrkd.study.gains import gains, images
from rdrkd.study.report import lead
from rdrkd.study.statistics import Difference, difference, rows_of
from rdrkd.study.timing import factor
from tests.rdrkd.study.test_report import member, report

ALONE: dict[str, Any] = {"terms": None}


def members(method: str, figures: list[float], **fields: Any) -> list[dict[str, Any]]:
    return [member(method, seed, ap, **fields) for seed, ap in enumerate(figures)]


STUDY = [
    *members("none", [10.0, 11.0, 12.0], **ALONE),
    *members("rdr-kd", [13.0, 14.1, 15.2], seconds=7200.0),
    *members("none@time", [12.0, 13.5, 14.0], as_long_as="rdr-kd", stretched=2.5, **ALONE),
    *members("none@lr-half", [9.0, 9.0, 9.0], **ALONE),
    *members("none@lr-double", [12.5, 12.0, 14.0], **ALONE),
    *members("none@p2", [11.0, 11.0, 11.0], **ALONE),
]


def test_a_gain_is_at_equal_epochs_at_equal_time_and_at_the_best_rate() -> None:
    (gain,) = gains(rows_of(STUDY))  # controls are no methods to be judged
    found = {name: round(d.mean, 3) for name, d in gain.of("AP").items() if d}
    assert found == {"epochs": 3.1, "time": round((1.0 + 0.6 + 1.2) / 3, 3), "rate": round((0.5 + 2.1 + 1.2) / 3, 3)}
    assert gain.rate is not None
    assert gain.rate.label == "none@lr-double"
    table = lead(rows_of(STUDY))
    assert table is not None
    (row,) = table["rows"]
    cells = dict(zip(table["header"], row, strict=True))
    assert cells["hours a run"] == "2"
    assert cells["AP an hour"] == "+1.55"
    assert cells["AP, equal time"].startswith("+0.93 [")


def test_the_report_leads_with_the_images_the_verdict_and_the_gains(tmp_path: Path) -> None:
    study = {"teacher": {"train": {}}, "train": {}, "decide": {}}
    text = report(STUDY, tmp_path, study=study)
    order = [
        "same images", "rdr-kd, AP at equal epochs: go, +3.10", "rdr-kd, AP at equal time: go, +0.93",
        "| method | pairs | AP, equal epochs | AP, equal time |", "* rdr-kd: AP +3.10", "COCO protocol",
    ]  # fmt: skip
    places = [text.index(what) for what in order]
    assert places == sorted(places)
    page = (tmp_path / "report.html").read_text()
    assert page.index("AP at equal time: go") < page.index("AP, equal time") < page.index("COCO protocol")
    figure = differences_of(rows_of(STUDY), gains(rows_of(STUDY)))
    assert figure is not None
    assert "rdr-kd, equal time" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_study_without_controls_says_what_it_has(tmp_path: Path) -> None:
    text = report([*members("none", [1.0, 2.0], **ALONE), *members("pkd", [2.0, 3.5])], tmp_path)
    assert "| pkd | 2 | +1.25 [" in text
    assert "Decision" not in text


@pytest.mark.parametrize(("teacher", "said"), [
    ({"train": {"fraction": 0.7}}, "trained on 70 % of the training images, the student on 15 %"),
    ({"train": {"fraction": 0.15}}, "on the same images"),
    ({"train": {"fraction": 0.15}, "model": {"path": "t.pt"}}, "began with trained weights, the student with random"),
    ({"train": {"fraction": 0.15}, "model": {"architecture": "yolov8l"}}, "images of this dataset."),
    ({"train": None}, "does not know"), ({}, "does not know"),
])  # fmt: skip
def test_whose_images_the_teacher_has_seen(teacher: dict[str, Any], said: str) -> None:
    (sentence,) = images(
        {"study": {"teacher": teacher, "train": {"fraction": 0.15}, "student": {"architecture": "yolov8n"}}}
    )
    assert said in sentence


def gain_of(mean: float, spread: float, seeds: int) -> Difference:
    """A difference of a given mean and, nearly, standard deviation."""
    values = {seed: mean + (spread if seed % 2 else -spread) * (seeds % 2 == 0 or seed > 0) for seed in range(seeds)}
    found = difference(values, dict.fromkeys(values, 0.0))
    assert found is not None
    return found


@pytest.mark.parametrize("least", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("mean", [-2.0, 0.1, 0.5, 2.5, 6.0])
@pytest.mark.parametrize("spread", [0.05, 1.0, 4.0])
def test_the_number_of_seeds_that_is_told_decides_and_one_less_does_not(
    least: float, mean: float, spread: float
) -> None:
    first = gain_of(mean, spread, 4)
    said = verdict(first, least)
    if not said.startswith("undecided"):
        assert said.startswith("go" if mean >= least else "no go")
        return
    seeds = seeds_to_decide(first, least)
    if seeds is None:
        assert "not even 1000 seeds" in said
        return
    assert f": {seeds} seeds would decide it" in said
    deviation = spread * (4 / 3) ** 0.5  # of the four values
    for count, decided in ((seeds, True), (seeds - 1, False)):
        half = _half(deviation, count)
        later = Difference(first.mean, first.mean - half, first.mean + half, count)
        assert verdict(later, least).startswith("undecided") != decided


def _half(deviation: float, seeds: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.975, seeds - 1)) * deviation / seeds**0.5


@pytest.mark.parametrize(("found", "said"), [
    (Difference(2.0, None, None, 1), "one pair"), (Difference(2.0, 2.0, 2.0, 3), "the same in every pair"),
    (Difference(0.001, -9.0, 9.002, 3), "not even 1000 seeds"),
])  # fmt: skip
def test_what_cannot_be_decided_says_why(found: Difference, said: str) -> None:
    assert verdict(found, 0.0).startswith("undecided")
    assert said in verdict(found, 0.0)


def test_a_rule_without_pairs_is_undecided() -> None:
    assert "undecided" in judge(Decide(), gains(rows_of(members("rdr-kd", [1.0, 2.0]))))[0]


def test_a_method_s_time_is_that_of_the_processor_where_all_tell_it() -> None:
    both = [*members("none", [1.0, 1.0, 1.0]), *members("rdr-kd", [1.0, 1.0, 1.0], seconds=50.0, epochs=4)]
    assert factor("rdr-kd", both) == 2.5  # seconds an epoch
    told = [{**m, "processor_seconds": 8.0 if m["method"] == "none" else 48.0} for m in both]
    assert factor("rdr-kd", told) == 3.0
    assert factor("rdr-kd", [*told[:5], {**told[5], "processor_seconds": None}]) == 2.5
    assert factor("rdr-kd", both[:3]) is None
    assert factor("rdr-kd", [*members("none", [1.0]), *members("rdr-kd", [1.0], seconds=1.0)]) == 1.0  # never shorter
