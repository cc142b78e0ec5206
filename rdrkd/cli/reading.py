"""The options for reading a dataset's archive, combined into one `Reading`."""

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdrkd.cli.connection import with_parameters
from rdrkd.cli.uploads import Divide, Keep

if TYPE_CHECKING:
    from rdrkd.data.reading import Reading

Command = Callable[..., None]
Lenient = Annotated[
    bool, typer.Option("--lenient", help="Leave out faulty parts of the dataset's archive instead of refusing it.")
]
OPTIONS = [
    Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=kind)
    for name, kind, value in (("lenient", Lenient, False), ("keep", Keep, False), ("divide", Divide, None))
]


def takes_reading(function: Command) -> Command:
    """Replace a command's parameter `reading` by the options `--lenient`, `--keep` and `--divide`."""
    parameters: list[Parameter] = []
    for each in inspect.signature(function).parameters.values():
        parameters += OPTIONS if each.name == "reading" else [each.replace(kind=Parameter.KEYWORD_ONLY)]

    def run(lenient: bool, keep: bool, divide: str | None, **arguments: Any) -> None:
        function(reading=reading_of(lenient, keep, divide), **arguments)

    return with_parameters(run, function, parameters)


def reading_of(lenient: bool, keep: bool, divide: str | None) -> "Reading":
    """Return the reading that these options describe.

    Raises:
        BadParameter: the options contradict each other, or `--divide` is malformed.
    """
    from rdrkd.data.reading import Reading
    from rdrkd.spec.splitting import Split

    if keep and not lenient:
        raise typer.BadParameter("expected --keep with --lenient, got it alone", param_hint="--keep")
    try:
        return Reading(lenient, keep, Split.parse(divide) if divide is not None else None)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--divide") from error
