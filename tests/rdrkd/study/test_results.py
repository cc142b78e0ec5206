import json
from pathlib import Path
from typing import Any

import pytest

from rdrkd.errors import SpecError
from rdrkd.study.results import FORMAT, merge, read, write


def results(*members: tuple[str, int, float], dataset: str = "d", command: str = "c", sha: str = "1") -> dict[str, Any]:
    return {
        "format": FORMAT, "name": "s", "dataset": dataset, "dataset_sha256": sha, "commands": [command], "teachers": {},
        "members": [
            {"method": method, "seed": seed, "hash": method, "setting": "s", "metrics": {"AP": ap}}
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
    for other in (results(dataset="e"), results(sha="2")):
        with pytest.raises(SpecError, match="results on the dataset d"):
            merge([results(), other])


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


@pytest.mark.parametrize("content", NO_RESULTS)
def test_what_is_no_results_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(SpecError, match="expected"):
        read(tmp_path / "x.json")
    with pytest.raises(SpecError):
        read(tmp_path / "missing.json")
