"""Refusals of options: what was expected and what came, in the words of the other refusals."""

from collections.abc import Sequence
from typing import Any

import typer
from pydantic import ValidationError

from rdrkd.cli.options import number
from rdrkd.figures import counted
from rdrkd.spec.problems import sentence


def refusal(error: typer.BadParameter) -> typer.BadParameter:
    """Return a refusal with this project's sentence instead of the one of Pydantic, which checks typer's options."""
    if isinstance(error.__cause__, ValidationError):
        fault = error.__cause__.errors(include_url=False)[0]
        error.message = sentence({**fault, "input": number(fault["input"])})
    return error


def refuse_all(command: Any, context: Any, arguments: Sequence[str]) -> None:
    """Refuse all wrong and missing values on a command line at once.

    Raises:
        BadParameter: there are several.
    """
    given, rest, _ = command.make_parser(context).parse_args(args=[*arguments])
    lines = []
    for parameter in command.get_params(context):
        try:
            parameter.handle_parse_result(context, given, rest)
        except typer.BadParameter as error:
            lines.append(f"  {(parameter.opts or [parameter.name])[0]} {refusal(error).message or 'is missing'}")
    if len(lines) > 1:
        words = [f"refused because of {counted(len(lines), 'value')}", *lines]
        raise typer.BadParameter("\n".join(words), ctx=context) from None
