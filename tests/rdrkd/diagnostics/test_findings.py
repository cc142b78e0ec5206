import json

import pytest

from rdrkd.diagnostics.findings import Findings, judge
from rdrkd.spec import Calibration

GOOD = {
    "task/gradient_norm": 4.0,
    "decoupled/gradient_norm": 2.0,
    "decoupled/ratio": 0.5,
    "regenerated/P2/hidden_cells": 0.4,
    "regenerated/P2/hidden_channels": 0.5,
    "student/P2/dead_channels": 0.1,
}
WEIGHTS = {"decoupled": 0.2}


def only(**changes: float) -> tuple[str, str]:
    """The one finding that some changes of the good probe cause."""
    probe = GOOD | {name.replace("__", "/"): value for name, value in changes.items()}
    (finding,) = judge(probe, WEIGHTS)
    return finding.code, finding.message


def test_a_good_probe_has_no_findings() -> None:
    assert list(judge(GOOD, WEIGHTS)) == []


def test_a_weak_term_is_told_with_the_numbers_and_the_knob() -> None:
    code, message = only(decoupled__ratio=5e-4, decoupled__gradient_norm=2e-3)
    assert code == "term_weak"
    for part in (
        "decoupled:",
        "0.0005 times",
        "0.002 against 4",
        "weight (now 0.2; by this probe 40 would make it 0.1 times)",
    ):
        assert part in message


def test_a_drowning_term_is_told_with_the_numbers_and_the_knob() -> None:
    code, message = only(decoupled__ratio=8.0, decoupled__gradient_norm=32.0)
    assert code == "term_drowns_task"
    for part in (
        "decoupled:",
        "8 times",
        "lower its weight (now 0.2; by this probe 0.025 would make it 1 times)",
        "calibration",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("mode", "knob"),
    [
        ("start", "lower its share in distillation.calibration, or let"),
        ("running", "lower its share in distillation.ca"),
    ],
)
def test_of_a_calibrated_term_the_knob_is_its_share(mode: str, knob: str) -> None:
    probe = GOOD | {"decoupled/ratio": 8.0}
    (finding,) = judge(probe, WEIGHTS, Calibration.model_validate({"mode": mode}))
    assert knob in finding.message
    assert "its weight" not in finding.message


def test_a_term_without_gradient_has_no_weight_to_name() -> None:
    code, message = only(decoupled__ratio=0.0, decoupled__gradient_norm=0.0)
    assert code == "term_weak"
    assert "would make" not in message


def test_a_term_that_is_off_is_nobody_s_fault() -> None:
    assert list(judge(GOOD | {"decoupled/ratio": 0.0}, {"decoupled": 0.0})) == []


@pytest.mark.parametrize("factor", [1.0, 0.3, 1e-4])
def test_a_schedule_that_falls_makes_no_term_weak(factor: float) -> None:
    probe = GOOD | {"schedule/factor": factor, "decoupled/ratio": 0.5 * factor, "decoupled/gradient_norm": 2.0 * factor}
    assert list(judge(probe, WEIGHTS)) == []


def test_of_a_scheduled_term_the_knob_is_the_weight_that_was_set() -> None:
    code, message = only(schedule__factor=0.5, decoupled__ratio=2.5e-4, decoupled__gradient_norm=1e-3)
    assert code == "term_weak"
    for part in ("0.0005 times the task's (0.002 against 4), the schedule's factor of 0.5 left out",
                 "weight (now 0.2; by this probe 40 would make it 0.1 times)"):  # fmt: skip
        assert part in message


@pytest.mark.parametrize(
    ("factor", "consequence"), [(0.25, "would hardly learn the task without it;"), (0.5, "hardly learns the task;")]
)
def test_a_schedule_that_rises_hides_no_term_that_will_drown_the_task(factor: float, consequence: str) -> None:
    code, message = only(schedule__factor=factor, decoupled__ratio=8 * factor, decoupled__gradient_norm=32 * factor)
    assert code == "term_drowns_task"
    for part in (
        "is 8 times the task's (32 against 4)",
        f"so the student {consequence}",
        "(now 0.2; by this probe 0.025 would",
    ):
        assert part in message


def test_where_the_schedule_s_factor_is_0_there_is_nothing_to_judge() -> None:
    probe = GOOD | {"schedule/factor": 0.0, "decoupled/ratio": 0.0, "decoupled/gradient_norm": 0.0}
    assert list(judge(probe, WEIGHTS)) == []


@pytest.mark.parametrize(
    ("figure", "share", "code", "words"),
    [
        ("regenerated__P2__hidden_cells", 0.0, "mask_cells", "0.0% in P2, so nothing has to be rebuilt; lower tau_s"),
        ("regenerated__P2__hidden_cells", 1.0, "mask_cells", "nothing is left to rebuild them from; raise tau_s"),
        ("amd__P2__hidden_cells", 0.0, "mask_cells", "nothing has to be rebuilt; lower tau_s"),
        ("regenerated__P2__hidden_channels", 0.0, "mask_channels", "nothing has to be rebuilt; lower tau_c"),
        ("student__P2__dead_channels", 0.75, "dead_channels", "student: 75% in P2 of the channels are constant"),
    ],
)  # fmt: skip
def test_what_works_on_nothing_is_told(figure: str, share: float, code: str, words: str) -> None:
    found, message = only(**{figure: share})
    assert found == code
    assert words in message


def test_levels_of_one_fault_are_one_warning() -> None:
    shares = {"P2": 0.001, "P3": 0.99, "P4": 0.985, "P5": 1.0}
    probe = GOOD | {f"regenerated/{level}/hidden_cells": share for level, share in shares.items()}
    findings = Findings()
    told = [findings.of(probe | {"teacher/P4/dead_channels": 0.6, "teacher/P5/dead_channels": 0.9}, WEIGHTS)
            for _ in range(3)]  # fmt: skip
    assert [len(warnings) for warnings in told] == [0, 3, 0]
    assert [warning.message for warning in told[1]] == [
        "regenerated hides hardly any cells: 0.1% in P2, so nothing has to be rebuilt; lower tau_s, or raise tau_area",
        "regenerated hides nearly all cells: 99.0% in P3, 98.5% in P4, 100.0% in P5, so nothing is left to rebuild "
        "them from; raise tau_s, or lower tau_area",
        "teacher: 60% in P4, 90% in P5 of the channels are constant over the batch, so the feature terms teach little "
        "there; look at these weights, or leave such levels out (`levels`)",
    ]


def test_each_finding_is_told_once_and_only_when_it_stays() -> None:
    findings, weak = Findings(), GOOD | {"decoupled/ratio": 1e-5}
    told = [findings.of(probe, WEIGHTS) for probe in (weak, GOOD, weak, weak, weak)]
    assert [len(warnings) for warnings in told] == [0, 0, 0, 1, 0]
    assert told[3][0].code == "term_weak"


def drowning(ratio: float, **changes: float) -> dict[str, float]:
    """A probe of a term with this ratio."""
    return GOOD | {"decoupled/ratio": ratio, "decoupled/gradient_norm": 4 * ratio} | changes


def test_the_knob_is_set_by_the_median_of_the_probes_so_far() -> None:
    findings = Findings()
    told = [findings.of(drowning(ratio), WEIGHTS) for ratio in (2.0, 4.0, 40.0)]
    (warning,) = told[-1]
    assert "is 40 times the task's" in warning.message
    assert "(now 0.2; by the median of its 3 probes 0.05 would make it 1 times)" in warning.message


def test_the_median_leaves_out_the_schedule_and_the_probes_in_which_the_term_was_off() -> None:
    findings, off = Findings(), {"schedule/factor": 0.0}
    findings.of(drowning(0.0, **off), WEIGHTS)
    findings.of(drowning(2.0, **{"schedule/factor": 0.5}), WEIGHTS)
    (warning,) = findings.of(drowning(8.0), WEIGHTS)
    assert "by the median of its 2 probes 0.033 would make it 1 times" in warning.message


@pytest.mark.parametrize(("calibration", "own"), [(None, "weight"), (Calibration(), "share")])
def test_where_the_median_is_fair_nothing_is_to_be_turned_yet(calibration: Calibration | None, own: str) -> None:
    findings = Findings(calibration)
    told = [findings.of(drowning(ratio), WEIGHTS) for ratio in (0.5, 0.4, 0.6, 4.0, 5.0)]
    (warning,) = told[-1]
    assert "the median of its 5 probes is 0.6 times, so see if it stays before you lower its " + own in warning.message
    assert "would make it" not in warning.message


def test_a_resumed_run_counts_the_probes_before() -> None:
    whole, begun, resumed = Findings(), Findings(), Findings()
    for findings in (whole, begun):
        findings.of(drowning(2.0), WEIGHTS)
        findings.of(drowning(4.0), WEIGHTS)
    resumed.restore(json.loads(json.dumps(begun.state())))
    begun.of(drowning(100.0), WEIGHTS)  # a state is of its moment
    assert resumed.of(drowning(40.0), WEIGHTS) == whole.of(drowning(40.0), WEIGHTS) != []


def test_a_state_of_an_earlier_version_has_no_probes() -> None:
    findings = Findings()
    findings.restore({"last": ["term_drowns_task decoupled"], "told": []})
    (warning,) = findings.of(drowning(8.0), WEIGHTS)
    assert "by this probe 0.025 would make it 1 times" in warning.message
