"""Suggestions of names: of files in the same folder."""

from pathlib import Path

import pytest

from rdrkd.suggestion import file_suggestion


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("teachr.pt", "teacher.pt"),
        ("teacher.PT", "teacher.pt"),
        ("surveys2", "survey2"),
        ("spec.yml", "spec.yaml"),
        ("spce.yaml", "spec.yaml"),
        ("datas.yaml", "data.yml"),
        ("teacher.zip", None),  # of another kind
        ("hidden.yaml", None),
        ("quite-different.pt", None),
        ("nowhere/teacher.pt", None),
        ("x" * 5000 + ".pt", None),
    ],
)
def test_the_nearest_file_of_the_same_kind_is_suggested(tmp_path: Path, name: str, meant: str | None) -> None:
    for file in ("teacher.pt", "student.pt", "spec.yaml", "data.yml", ".hidden.yaml", "survey2.zip"):
        (tmp_path / file).touch()
    (tmp_path / "survey2").mkdir()
    expected = "" if meant is None else f"; did you mean `{tmp_path / meant}`?"
    assert file_suggestion(tmp_path / name) == expected
