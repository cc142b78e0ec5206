"""Refusals of options: what was expected and what came, in the words of the other refusals."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import ValidationError

from rdrkd.cli.options import number
from rdrkd.figures import counted
from rdrkd.spec.problems import sentence

_FILES = ("teacher", "student", "model", "data", "dataset")  # options that take a file, also where they take names, too
_COUNTERPARTS = (
    ("--model", "--teacher", "--student"),
    ("--data", "--dataset"),
    ("--output", "--out", "--run-dir"),
)


def refusal(error: typer.BadParameter) -> typer.BadParameter:
    """Return a refusal with this project's sentence instead of the one of Pydantic, which checks typer's options."""
    if isinstance(error.__cause__, ValidationError):
        fault = error.__cause__.errors(include_url=False)[0]
        error.message = sentence({**fault, "input": number(fault["input"])})
    return error


def refuse_texts(command: Any, context: Any, arguments: Sequence[str]) -> None:
    """Refuse empty texts and URLs of files, which become other values or paths once they are read.

    Raises:
        BadParameter: there is one; it names all other wrong values, too.
    """
    given, *_ = command.make_parser(context).parse_args(args=[*arguments])
    for parameter in command.get_params(context):
        try:
            _refuse_text(parameter, given.get(parameter.name), context)
        except typer.BadParameter:
            refuse_all(command, context, arguments)
            raise


def _refuse_text(parameter: Any, value: Any, context: Any) -> None:
    texts = value if isinstance(value, list | tuple) else [value]
    kind = parameter.type_descriptor.annotation
    is_file = Path in (kind, *get_args(kind)) or parameter.name in _FILES
    for text in texts:
        if text == "":
            raise typer.BadParameter("expected a value, got an empty text", ctx=context, param=parameter)
        if is_file and isinstance(text, str) and re.match(r"[a-z][a-z0-9+.-]+://", text):
            raise typer.BadParameter(
                f"expected a file on this machine, got the URL {text}: download it first", ctx=context, param=parameter
            )


def suggest_option(command: Any, context: Any, error: Any) -> None:
    """Add to the refusal of an unknown option its counterpart in this command, or the commands that have it."""
    name = error.option_name
    own = _names_of(command, context)
    alike = [other for group in _COUNTERPARTS if name in group for other in group if other in own]
    if alike:
        error.possibilities = alike
    elif context.parent is not None:
        group = context.parent.command
        others = [(each, group.get_command(context.parent, each)) for each in group.list_commands(context.parent)]
        having = [
            f"`{context.parent.command_path} {each}`"
            for each, other in others
            if not hasattr(other, "commands") and not other.hidden and name in _names_of(other, context)
        ]
        if having:  # whoever knows its exact name has made no typing error
            error.message += f"; {', '.join(having)} {'has' if len(having) == 1 else 'have'} it"
            error.possibilities = None


def _names_of(command: Any, context: Any) -> set[str]:
    return {name for parameter in command.get_params(context) for name in parameter.opts}


def refuse_all(command: Any, context: Any, arguments: Sequence[str]) -> None:
    """Refuse all wrong and missing values on a command line at once.

    Raises:
        BadParameter: there are several.
    """
    given, rest, _ = command.make_parser(context).parse_args(args=[*arguments])
    lines = []
    for parameter in command.get_params(context):
        try:
            _refuse_text(parameter, given.get(parameter.name), context)
            parameter.handle_parse_result(context, given, rest)
        except typer.BadParameter as error:
            lines.append(f"  {(parameter.opts or [parameter.name])[0]} {refusal(error).message or 'is missing'}")
    if len(lines) > 1:
        words = [f"refused because of {counted(len(lines), 'value')}", *lines]
        raise typer.BadParameter("\n".join(words), ctx=context) from None
