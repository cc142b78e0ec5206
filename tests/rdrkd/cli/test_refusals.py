"""Refused options: the option, what was expected and what came, and what a typo was meant to be."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rdrkd.cli.main import app
from rdrkd.errors import RdrkdError

DISTILL = ("distill", "--teacher", "yolov8n.pt", "--student", "yolov8n", "--data", "d.zip")


def refused(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "2000"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code, result.output
    if not isinstance(result.exception, RdrkdError):
        return result.output
    return "\n".join([str(result.exception), *(f"{one.where} {one.detail}" for one in result.exception.problems)])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((*DISTILL, "--epochs", 0), "  --epochs expected a value greater than or equal to 1, got 0"),
        ((*DISTILL, "--imgsz", 0), "  --imgsz expected a value greater than or equal to 32, got 0"),
        ((*DISTILL, "--batch", -3), "  --batch expected a value greater than or equal to 1, got -3"),
        ((*DISTILL, "--epochs", "ten"), "  --epochs expected a valid integer, got 'ten'"),
        (("advise", "--data", "d", "--hours", 0), "'--hours': expected a value greater than or equal to 0.01, got 0"),
        (("jobs", "list", "--limit", 0), "'--limit': expected a value greater than or equal to 1, got 0"),
        (("study", "table1", "d", "--out", "o", "--imgsz", 1), "'--imgsz': expected a value greater than or equal"),
    ],
)
def test_a_number_is_refused_in_one_sentence(arguments: tuple[object, ...], sentence: str) -> None:
    said = refused(*arguments)
    assert sentence in said
    assert sentence.startswith("  ") or f"Error: Invalid value for {sentence}" in said


@pytest.mark.parametrize(
    ("arguments", "option", "meant"),
    [
        ((*DISTILL, "--preset", "rdr-kdd"), "--preset", "rdr-kd"),
        ((*DISTILL, "--teacher", "yolov8ll.pt"), "--teacher", "yolov8l.pt"),
        (("evaluate", "w.pt", "--data", "d", "--split", "vall"), "--split", "val"),
        (("study", "table1", "d", "--out", "o", "--student", "yolov8nn"), "--student", "yolov8n"),
        (("bench", "--methods", "cwdd"), "--methods", "cwd"),
    ],
)
def test_a_mistyped_choice_is_asked_about(arguments: tuple[object, ...], option: str, meant: str) -> None:
    (line,) = (each for each in refused(*arguments).splitlines() if option in each)
    assert line.endswith(f"; did you mean `{meant}`?")


def test_a_mistyped_profile_is_asked_about(tmp_path: Path) -> None:
    assert "did you mean `demo`?" in refused("scenes", tmp_path / "s", "--profile", "demoo")


def test_a_mistyped_command_is_asked_about() -> None:
    assert "No such command 'distil'. Did you mean 'distill'?" in refused("distil")
