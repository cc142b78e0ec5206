"""Refusals of options: what was expected and what came, in the words of the other refusals."""

import json

import typer
from pydantic import ValidationError

from rdrkd.spec.problems import sentence


def refusal(error: typer.BadParameter) -> typer.BadParameter:
    """Return a refusal with this project's sentence instead of the one of Pydantic, which checks typer's options."""
    if isinstance(error.__cause__, ValidationError):
        fault = error.__cause__.errors(include_url=False)[0]
        error.message = sentence({**fault, "input": _number(fault["input"])})
    return error


def _number(text: object) -> object:
    """Return the number that a text on the command line stands for, so that a refusal shows it without quotes.

    >>> _number("-3"), _number("0.5"), _number("abc"), _number("true")
    (-3, 0.5, 'abc', 'true')
    """
    try:
        found = json.loads(str(text))
    except ValueError:
        return text
    return found if type(found) in (int, float) else text
