"""Successive halving over seeds: who goes on, and that a run decides alike when it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from rdrkd.data import open_dataset
from rdrkd.errors import SpecError
from rdrkd.spec.study import Study
from rdrkd.study.halving import note, rungs_of, survivors
from rdrkd.study.members import members_of
from rdrkd.study.results import FORMAT
from rdrkd.study.runner import Order, run_study
from tests.rdrkd.study.test_report import member

NAMES = ["pkd", "cwd", "mgd", "fgd"]
STUDY = Study.model_validate(
    {
        "name": "s", "dataset": "d", "teacher": {"model": {"architecture": "yolov8l"}, "train": {}},
        "student": {"architecture": "yolov8n"}, "methods": ["none", "rdr-kd", *NAMES, "controls"], "seeds": [0, 1, 2],
    }
)  # fmt: skip
ALL = [method.name for method in STUDY.each_method]


def members(gains: dict[str, list[float]]) -> list[dict[str, Any]]:
    """The lead is at 10, 20, 30 AP by seed; the others are by so much better."""
    lead = [10.0, 20.0, 30.0]
    figures = {"rdr-kd": lead, **{name: [lead[s] + g for s, g in enumerate(own)] for name, own in gains.items()}}
    return [member(name, seed, ap) for name, own in figures.items() for seed, ap in enumerate(own)]


@pytest.mark.parametrize(("keep", "kept"), [(0.5, {"pkd", "fgd"}), (0.6, {"pkd", "fgd", "cwd"}), (0.01, {"fgd"})])
def test_the_better_candidates_go_on_beside_lead_baseline_and_controls(keep: float, kept: set[str]) -> None:
    found = members({"pkd": [0.5], "cwd": [-1.0], "mgd": [-2.0], "fgd": [3.0]})
    after = survivors(STUDY, ALL, found, keep)
    assert set(ALL) - set(after) == set(NAMES) - kept
    assert after == [name for name in ALL if name in after]


def test_candidates_are_compared_over_the_seeds_that_they_share_with_the_lead() -> None:
    found = members({"pkd": [0.2, 0.2, 0.2], "cwd": [0.3]})  # whose mean AP is a third
    assert "cwd" in survivors(STUDY, ["rdr-kd", "pkd", "cwd"], found, 0.5)
    assert "pkd" not in survivors(STUDY, ["rdr-kd", "pkd", "cwd"], found, 0.5)


def test_a_candidate_that_failed_does_not_go_on() -> None:
    assert survivors(STUDY, ALL, members({"pkd": [-5.0]}), 0.5)[:3] == ["none", "rdr-kd", "pkd"]
    assert not set(NAMES) & set(survivors(STUDY, ALL, [], 1.0))


def test_what_is_dropped_is_noted() -> None:
    assert note(2, ["a", "b", "c"], ["b"], "rdr-kd") == [
        "successive halving: after 2 seeds, by mean paired AP to rdr-kd, no further: a, c"
    ]
    assert note(2, ["a"], ["a"], "rdr-kd") == []


@pytest.mark.parametrize("text", ["", "0,1", "2,1", "1,1,2", "1,2,9", "1,x", "1,,2", "-1"])
def test_rungs_that_do_not_rise_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="expected rising numbers of seeds from 1 to 5"):
        rungs_of(text, 5)


def test_a_study_trains_no_more_of_what_a_rung_has_dropped(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    study = Study.model_validate(
        {
            "name": "s", "dataset": str(scenes), "teacher": {"model": {"path": str(teacher_path)}},
            "student": {"architecture": "yolov8n-half"}, "methods": ["none", "rdr-kd", *NAMES], "seeds": [0, 1, 2],
            "train": {"epochs": 2},
        }
    )  # fmt: skip
    data = open_dataset(scenes, tmp_path / "cache")
    gains = {"none": -3.0, "rdr-kd": 0.0, "pkd": 1.0, "cwd": 0.5, "mgd": -1.0, "fgd": -2.0}
    rungs = {"pkd": 3, "cwd": 2, "mgd": 1, "fgd": 1}  # seeds that each is to get
    records = [
        member(m.method, m.seed, 10.0 * (m.seed + 1) + gains[m.method], hash=m.hash, setting=m.setting)
        for m in members_of(study, data.sha256, {"path": str(teacher_path.resolve())})
        if m.seed < rungs.get(m.method, 3)
    ]
    known = {
        "format": FORMAT, "name": "s", "dataset": "d", "dataset_sha256": data.sha256, "members": records, "notes": [],
    }  # fmt: skip
    (tmp_path / "known.json").write_text(json.dumps(known))
    order = Order(tmp_path / "out", device="cpu", command="a test", known=[tmp_path / "known.json"], rungs=(1, 2, 3))
    for _ in range(2):  # the second goes on, and decides alike
        ended = run_study(study, order, lambda _name: pytest.fail("nothing is to be trained"))
        assert not ended.missing
        assert {m.method for m in ended.members if m.seed == 2} == {"none", "rdr-kd", "pkd"}
        assert ended.results["notes"] == [
            "successive halving: after 1 seeds, by mean paired AP to rdr-kd, no further: mgd, fgd",
            "successive halving: after 2 seeds, by mean paired AP to rdr-kd, no further: cwd",
        ]
