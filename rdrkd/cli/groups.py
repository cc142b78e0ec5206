"""Groups of commands, whose help is plain text: typer's tables leave descriptions a quarter of an 80-column line."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

CONTEXT = {"help_option_names": ["-h", "--help"]}


class Group(TyperGroup):
    """A group whose help lists each command with its whole first sentence, where Click cuts it to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, (one.help or "").split("\n\n")[0]) for name, one in found if one is not None and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Command(TyperCommand):
    """A command that refuses all wrong values on the command line at once, where Click stops at the first.

    No value may be an empty text, and an unknown option is answered with the one that was meant.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        try:
            if any(not arg or arg.endswith("=") or "://" in arg for arg in args):
                from rdrkd.cli.refusals import refuse_texts

                refuse_texts(self, ctx, args)
            return super().parse_args(ctx, [*args])
        except typer.BadParameter:
            from rdrkd.cli.refusals import refuse_all

            refuse_all(self, ctx, args)
            raise
        except Exception as error:
            if hasattr(error, "option_name"):  # of Click's NoSuchOption, which typer does not export
                from rdrkd.cli.refusals import suggest_option

                suggest_option(self, ctx, error)
            raise


class App(typer.Typer):
    """Commands of the class `Command`."""

    def command(self, *names: Any, **options: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Register a command."""
        return super().command(*names, **{"cls": Command} | options)


def new_app(help_: str, **options: Any) -> App:
    """Return a group of commands."""
    return App(
        cls=Group,
        help=help_,
        no_args_is_help=True,
        add_completion=False,  # the root command has it
        rich_markup_mode=None,
        context_settings=CONTEXT,
        **options,
    )
