import json
from pathlib import Path
from typing import Any

import pytest

from rdrkd.errors import SpecError
from rdrkd.study.results import FORMAT, merge, read, write

FIGURES = {"AP50": 2.0, "AP75": None, "AP_S": 1.0, "AP_M": None, "AP_L": None}
STUDENT = {"architecture": "yolov8n", "parameters": 3_000_000, "gflops": 8.1}


def results(*members: tuple[str, int, float], dataset: str = "d", command: str = "c", sha: str = "1") -> dict[str, Any]:
    return {
        "format": FORMAT, "name": "s", "dataset": dataset, "dataset_sha256": sha, "commands": [command], "teachers": {},
        "members": [
            {
                "method": method, "seed": seed, "hash": method, "setting": "s", "metrics": {"AP": ap, **FIGURES},
                "curve": [{"mAP50_95": ap}], "seconds": 1.0, "epochs": 1, "memory_bytes": 1, "student": STUDENT,
            }
            for method, seed, ap in members
        ],
    }  # fmt: skip


def keys(found: dict[str, Any]) -> list[tuple[str, int, float]]:
    return [(m["method"], m["seed"], m["metrics"]["AP"]) for m in found["members"]]


def test_results_of_several_runs_join_and_the_first_of_a_member_stands() -> None:
    one = results(("none", 0, 1.0), ("rdr-kd", 0, 2.0), command="here")
    two = results(("rdr-kd", 0, 9.0), ("none", 1, 3.0), command="there")
    joined = merge([one, two])
    assert keys(joined) == [("none", 0, 1.0), ("none", 1, 3.0), ("rdr-kd", 0, 2.0)]
    assert joined["commands"] == ["here", "there"]
    assert len(one["members"]) == 2


def test_other_datasets_do_not_join() -> None:
    with pytest.raises(SpecError, match=r"results on the dataset d \(sha256 1\), got some on d \(2\)"):
        merge([results(), results(sha="2")])


def test_a_dataset_is_known_by_its_content_whatever_its_name() -> None:
    joined = merge([results(("none", 0, 1.0)), results(("none", 1, 3.0), dataset="the same under another name")])
    assert len(joined["members"]) == 2


def test_a_member_that_two_runs_know_differently_is_noted() -> None:
    one, two = results(("none", 0, 1.0), ("rdr-kd", 0, 2.0)), results(("rdr-kd", 0, 9.0), ("none", 0, 1.0))
    assert merge([one, two])["notes"] == [
        "rdr-kd, seed 0 (rdr-kd) was trained twice, AP 2.00 and 9.00: the first is kept"
    ]
    assert merge([merge([one, two]), two])["notes"] == merge([one, two])["notes"]
    assert merge([one, one])["notes"] == []


def failure(method: str, seed: int) -> dict[str, Any]:
    return {"method": method, "seed": seed, "hash": method, "reason": "nan_loss", "message": "lost"}


def test_a_failure_is_kept_until_its_member_is_done() -> None:
    one = {**results(("none", 0, 1.0)), "failures": [failure("rdr-kd", 0), failure("rdr-kd", 1)]}
    two = {**results(("rdr-kd", 0, 1.0)), "failures": [failure("rdr-kd", 1), failure("none", 0)]}
    assert merge([one, two])["failures"] == [failure("rdr-kd", 1)]
    assert merge([two, one])["failures"] == [failure("rdr-kd", 1)]


def test_they_come_back_from_their_file_in_order(tmp_path: Path) -> None:
    unordered = results(("none", 1, 3.0), ("rdr-kd", 0, 2.0), ("none", 0, 1.0))
    write(merge([unordered]), tmp_path / "new" / "study.json")
    assert keys(read(tmp_path / "new" / "study.json")) == [("none", 0, 1.0), ("none", 1, 3.0), ("rdr-kd", 0, 2.0)]


NO_RESULTS = [
    "",
    "[]",
    "{}",
    json.dumps({"format": FORMAT, "members": [{"method": "none"}]}),
    json.dumps({"format": 99, "members": []}),
]


def test_a_member_without_what_the_report_needs_is_named(tmp_path: Path) -> None:
    found = results(("none", 0, 1.0), ("none", 1, 1.0))
    del found["members"][1]["metrics"]["AP_S"], found["members"][1]["curve"]
    (tmp_path / "x.json").write_text(json.dumps(found))
    with pytest.raises(SpecError) as refused:
        read(tmp_path / "x.json")
    assert {problem.where for problem in refused.value.problems} == {"/members/1/metrics/AP_S", "/members/1/curve"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("metrics", {"AP": float("nan"), **FIGURES}), ("metrics", {"AP": "nan", **FIGURES}),
        ("per_class", None), ("versions", None), ("jobs", "2"), ("seed", "0"),
    ],
)  # fmt: skip
def test_what_would_break_a_report_is_refused_by_field(field: str, value: Any, tmp_path: Path) -> None:
    found = results(("none", 0, 1.0))
    found["members"][0][field] = value
    (tmp_path / "x.json").write_text(json.dumps(found))
    with pytest.raises(SpecError) as refused:
        read(tmp_path / "x.json")
    assert all(problem.where.startswith(f"/members/0/{field}") for problem in refused.value.problems)


@pytest.mark.parametrize("content", ["{", "", "\xff", json.dumps({"format": FORMAT, "members": [{}] * 99})])
def test_a_damaged_file_is_named_with_what_to_do(content: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(content, encoding="latin-1")
    with pytest.raises(SpecError) as refused:
        read(tmp_path / "study.json")
    message = str(refused.value)
    assert message.startswith(f"expected a study's results in {tmp_path / 'study.json'}, got ")
    assert "move it away: `rdrkd study run` makes it anew" in message
    assert len(refused.value.problems) <= 10


def test_a_member_that_stands_twice_in_one_file_is_counted_once() -> None:
    joined = merge([results(("none", 0, 1.0), ("none", 0, 1.0), ("none", 0, 2.0))])
    assert keys(joined) == [("none", 0, 1.0)]
    assert len(joined["notes"]) == 1


def test_the_results_that_are_kept_can_be_read() -> None:
    files = sorted((Path(__file__).parents[3] / "docs" / "results").glob("study-*.json"))
    assert files
    for file in files:
        assert read(file)["members"]


@pytest.mark.parametrize("content", NO_RESULTS)
def test_what_is_no_results_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(SpecError, match="expected"):
        read(tmp_path / "x.json")
    with pytest.raises(SpecError):
        read(tmp_path / "missing.json")
