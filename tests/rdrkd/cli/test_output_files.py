"""Output files: nothing is overwritten that was not named."""

from pathlib import Path

import pytest
import typer

from rdrkd.cli.output_files import target_of

SUFFIXES = (".pt", ".safetensors")


def test_a_file_or_its_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pt").touch()
    assert target_of(None, "student.pt") == Path("student.pt")
    assert target_of(tmp_path, "student.pt") == tmp_path / "student.pt"
    assert target_of(tmp_path / "there.pt", "student.pt", SUFFIXES) == tmp_path / "there.pt", "it is named"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, "student.pt exists already: `--output student.pt` overwrites it"),
        (".", "student.pt exists already: `--output student.pt` overwrites it"),
        ("keep", "keep/student.pt exists already: `--output keep/student.pt` overwrites it"),
        ("gone/x.pt", "expected an existing folder, got no gone"),
        ("student.pt/x.pt", "expected an existing folder, got the file student.pt"),
        ("missing", r"expected a file named \*.pt or \*.safetensors, got no folder .*missing"),
        ("x.txt", r"expected a file named \*.pt or \*.safetensors, got x.txt"),
    ],
)
def test_what_cannot_be_written_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep").mkdir()
    for file in ("student.pt", "keep/student.pt"):
        (tmp_path / file).write_text("precious")
    with pytest.raises(typer.BadParameter, match=words):
        target_of(None if output is None else Path(output), "student.pt", SUFFIXES)
    assert (tmp_path / "keep/student.pt").read_text() == "precious"
