"""Refused options: the option, what was expected and what came, and what a typo was meant to be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rdrkd.cli.main import app
from rdrkd.errors import RdrkdError

URL = "https://example.org/x.zip"
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


# -- empty texts and URLs


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        below = (*path, name)
        yield from _commands(command, below) if hasattr(command, "commands") else [(below, command)]


def texts() -> Iterator[Any]:
    """Every option and argument that takes a text, of every command."""
    for path, command in _commands(typer.main.get_command(app)):
        for parameter in command.params:
            if not getattr(parameter, "is_flag", False) and parameter.name != "help":
                yield pytest.param(path, parameter, id=f"{'-'.join(path)}-{parameter.name}")


@pytest.mark.parametrize(("path", "parameter"), list(texts()))
def test_no_value_may_be_empty(path: tuple[str, ...], parameter: Any, tmp_path: Path) -> None:
    option = next((name for name in parameter.opts if name.startswith("--")), None)
    for given in ([""],) if option is None else ([option, ""], [f"{option}="]):
        said = refused(*path, *given)
        assert "expected a value, got an empty text" in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("train", "--model", "yolov8n", "--data", URL), "--data"),
        (("distill", "--teacher", URL, "--student", "yolov8n", "--data", "d"), "--teacher"),
        (("train", "--model", URL, "--data", "d"), "--model"),
        (("jobs", "submit", "--teacher", "l.pt", "--student", "yolov8n", "--data", URL), "--data"),
        (("inspect", URL), "file"),
        (("datasets", "check", URL), "path"),
        (("evaluate", URL, "--data", "d"), "target"),
        (("study", "table1", URL, "--out", "o"), "dataset"),
        (("study", "merge", URL, "--output", "o"), "parts"),
    ],
)
def test_a_url_in_place_of_a_file_is_to_be_downloaded_first(arguments: tuple[str, ...], where: str) -> None:
    said = refused(*arguments)
    assert f"expected a file on this machine, got the URL {URL}: download it first" in said
    assert where in said


def test_a_url_where_one_belongs_is_read() -> None:
    assert "got the URL" not in refused("jobs", "list", "--url", "http://127.0.0.1:1")


# -- unknown options


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("train --teacher l.pt", "No such option: --teacher (Possible options: --model)"),
        ("train --student n", "No such option: --student (Possible options: --model)"),
        ("distill --model l.pt", "No such option: --model (Possible options: --student, --teacher)"),
        ("study run s.yaml --run-dir r", "No such option: --run-dir (Possible options: --out)"),
        ("evaluate w.pt --preset cwd", "No such option: --preset; `rdrkd distill` has it"),
        ("jobs submit --scratch", "No such option: --scratch; `rdrkd jobs retry` has it"),
        ("distill --epocs 3", "Possible options: --epochs"),
        ("distill --colour red", "No such option: --colour"),
    ],
)
def test_an_unknown_option_names_the_one_that_was_meant(arguments: str, meant: str) -> None:
    assert meant in refused(*arguments.split())
