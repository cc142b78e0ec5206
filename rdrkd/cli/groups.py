"""Groups of commands, whose help is plain text: typer's tables leave descriptions a quarter of an 80-column line."""

from typing import Any

import typer
from typer.core import TyperGroup

CONTEXT = {"help_option_names": ["-h", "--help"]}


class Group(TyperGroup):
    """A group whose help lists each command with its whole first sentence, where Click cuts it to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, (one.help or "").split("\n\n")[0]) for name, one in found if one is not None and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def new_app(help_: str, **options: Any) -> typer.Typer:
    """Return a group of commands."""
    return typer.Typer(
        cls=Group,
        help=help_,
        no_args_is_help=True,
        add_completion=False,  # the root command has it
        rich_markup_mode=None,
        context_settings=CONTEXT,
        **options,
    )
