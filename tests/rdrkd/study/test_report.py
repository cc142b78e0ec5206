"""The report of results made by hand; whole studies are reported in test_runner.py."""

from pathlib import Path
from typing import Any

import pytest

from rdrkd.study.report import findings, mixtures, tables, write_report
from rdrkd.study.results import FIGURES, FORMAT
from rdrkd.study.statistics import rows_of


def member(method: str, seed: int, ap: float, **fields: Any) -> dict[str, Any]:
    return {
        "method": method, "seed": seed, "hash": f"{method}-hash", "setting": "s", "metrics": dict.fromkeys(FIGURES, ap),
        "curve": [{"mAP50_95": ap}], "seconds": 10.0, "epochs": 2, "memory_bytes": 10**9, "jobs": 1,
        "student": {"architecture": "yolov8n", "parameters": 3_000_000, "gflops": 8.1},
        "teacher_sha256": "t", "versions": {"torch": "2", "device": "CPU"}, **fields,
    }  # fmt: skip


def report(members: list[dict[str, Any]], out: Path, **fields: Any) -> str:
    results = {
        "format": FORMAT, "name": "s", "dataset": "d", "dataset_sha256": "1", "commands": ["a command"], "teachers": {},
        "members": members, "failures": [], **fields,
    }  # fmt: skip
    write_report(results, out)
    return (out / "report.md").read_text()


def test_methods_with_the_same_terms_keep_their_names(tmp_path: Path) -> None:
    # the same distillation under two names has one hash
    members = [member("none", 0, 1.0), member("rdr-kd", 0, 2.0, hash="x"), member("mine", 0, 3.0, hash="x")]
    labels = [row[0] for row in tables(rows_of(members))[0]["rows"]]
    assert labels == ["none", "rdr-kd", "mine"]
    text = report(members, tmp_path)
    assert "* rdr-kd: AP +1.00" in text
    assert "* mine: AP +2.00" in text


def test_a_method_with_several_settings_is_told_apart_by_its_hash() -> None:
    members = [member("rdr-kd", 0, 2.0, hash="0123456789"), member("rdr-kd", 1, 2.0, hash="abcdefghij")]
    assert [row.label for row in rows_of(members)] == ["rdr-kd (012345)", "rdr-kd (abcdef)"]


def test_rows_that_join_what_was_not_made_alike_are_noted(tmp_path: Path) -> None:
    alike = [member("none", seed, 1.0) for seed in (0, 1)]
    assert mixtures(rows_of(alike)) == []
    other = {"torch": "3", "device": "H200"}
    mixed = [*alike, member("none", 2, 1.0, teacher_sha256="u", versions=other)]
    assert mixtures(rows_of(mixed)) == [
        "none: its members were made with 2 different teachers",
        "none: its members were made with 2 different devices",
        "none: its members were made with 2 different versions",
    ]
    text = report(mixed, tmp_path, notes=["none, seed 0 was trained twice"])
    assert "* none: its members were made with 2 different devices" in text
    assert "* none, seed 0 was trained twice" in text


def test_seconds_are_called_rough_where_members_trained_at_the_same_time() -> None:
    def title(*jobs: int | None) -> str:
        members = [member("none", seed, 1.0, jobs=number) for seed, number in enumerate(jobs)]
        return str(tables(rows_of(members))[-1]["title"])

    assert title(1, 1) == "Cost of a run (members trained one at a time)"
    assert "rough: 1 or 3 at a time" in title(3, 1)
    assert "rough: an unknown number or 2 at a time" in title(2, None)


@pytest.mark.parametrize("gain", [0.0, 1.5])
def test_equal_differences_are_not_told_as_an_interval(gain: float) -> None:
    members = [
        member(method, seed, seed + of) for method, of in (("none", 0.1), ("mine", 0.1 + gain)) for seed in (0, 1)
    ]
    rows = rows_of(members)
    (sentence,) = findings(rows)
    assert sentence == (
        f"mine: AP {gain:+.2f} over 2 paired seeds: the same in every pair, so their spread tells nothing of chance; "
        "more seeds would."
    )
    assert tables(rows)[1]["rows"][0][2] == f"{gain:+.2f}"


def test_the_student_alone_comes_first_in_every_table(tmp_path: Path) -> None:
    members = [member("a", 0, 2.0), member("none", 0, 1.0)]
    firsts = [table["rows"][0][0] for table in tables(rows_of(members)) if len(table["rows"]) > 1]
    assert firsts == ["none", "a", "none"], "the second is the order by AP"
    _gains, figures = report(members, tmp_path).split("COCO protocol", 1)
    assert figures.index("| none |") < figures.index("| a |")


def test_failures_are_in_the_report(tmp_path: Path) -> None:
    failure = {"method": "mine", "seed": 4, "hash": "x", "reason": "nan_loss", "message": "lost"}
    assert "* mine, seed 4: nan_loss: lost" in report([member("none", 0, 1.0)], tmp_path, failures=[failure])


def test_a_difference_that_does_not_stand_among_all_pairs_is_called_one_by_itself() -> None:
    base, better = [10.0, 11.0, 9.0], [12.0, 13.4, 10.9]
    noise = [member(f"noise{n}", seed, 9.0 + n + 2 * (seed == n)) for n in range(3) for seed in range(3)]
    own = [*(member("none", s, v) for s, v in enumerate(base)), *(member("mine", s, v) for s, v in enumerate(better))]
    (alone,) = (sentence for sentence in findings(rows_of(own)))
    assert "better than the student alone, beyond what the seeds explain." in alone
    among = next(sentence for sentence in findings(rows_of([*own, *noise])) if sentence.startswith("mine"))
    assert "by itself, and not of all pairs" in among
