"""The command line `rdrkd`. With `--events`, it is also the trainer that a worker starts.

Each command's module is imported only when the command is called, so that `rdrkd --help` starts fast.
"""

from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from rdrkd import __version__
from rdrkd.cli.groups import CONTEXT, App
from rdrkd.errors import RdrkdError
from rdrkd.process.die_with_parent import die_with_parent


class Lazy(NamedTuple):
    """A command's module and name, and its line in the list of commands."""

    module: str
    attribute: str
    help: str
    hidden: bool = False


COMMANDS = {
    "distill": Lazy("rdrkd.cli.runs", "distill", "Distil a student from a teacher, from options or a spec."),
    "train": Lazy("rdrkd.cli.runs", "train", "Train one model alone."),
    "evaluate": Lazy("rdrkd.cli.runs", "evaluate", "Evaluate weights by the COCO protocol and Ultralytics' metric."),
    "export": Lazy("rdrkd.cli.runs", "export", "Export weights to ONNX, OpenVINO, TorchScript or TensorRT."),
    "compare": Lazy("rdrkd.cli.runs", "compare", "Draw the report of a service's study.", hidden=True),
    "advise": Lazy("rdrkd.cli.advise", "advise", "Suggest settings for a dataset, with their cost here."),
    "inspect": Lazy("rdrkd.cli.local_files", "inspect", "Check a dataset or a weights file."),
    "report": Lazy("rdrkd.cli.local_files", "report", "Write a run folder's report."),
    "schema": Lazy("rdrkd.cli.local_files", "schema", "Print the JSON Schema of job specs."),
    "scenes": Lazy("rdrkd.cli.trials", "scenes", "Draw synthetic drone scenes with exact boxes."),
    "demo": Lazy("rdrkd.cli.trials", "demo", "Train a teacher and distil a student in a few minutes."),
    "bench": Lazy("rdrkd.cli.trials", "bench", "Measure what distillation costs."),
    "up": Lazy("rdrkd.cli.embedded", "up", "Start the embedded service."),
    "down": Lazy("rdrkd.cli.embedded", "down", "Stop the embedded service."),
    "doctor": Lazy("rdrkd.cli.doctor", "doctor", "Check a service: report what is wrong, and how to fix it."),
    "console": Lazy("rdrkd.cli.web_console", "console", "Serve a remote service's console on this machine."),
    "studies": Lazy("rdrkd.cli.studies", "studies", "Compare methods over seeds, here or on a service (short: study)."),
    "study": Lazy("rdrkd.cli.studies", "studies", "The same as `studies`.", hidden=True),
    "jobs": Lazy("rdrkd.cli.jobs", "jobs", "Jobs of a service: submit, follow, cancel, fetch their weights."),
    "datasets": Lazy("rdrkd.cli.datasets", "datasets", "Datasets of a service."),
    "models": Lazy("rdrkd.cli.models", "models", "Models of a service: teachers and start weights."),
    "workers": Lazy("rdrkd.cli.workers", "workers", "Workers of a service."),
    "webhooks": Lazy("rdrkd.cli.webhooks", "webhooks", "Webhooks of a service: deliveries when jobs and studies end."),
    "keys": Lazy("rdrkd.cli.keys", "keys", "API keys of a service."),
    "version": Lazy("rdrkd.cli.main", "version", "Print the version."),
}


class Commands(TyperGroup):
    """The root command, which imports its subcommands lazily."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)  # from these names typer suggests one for a typo

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order of their definition."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; return None if there is none of this name."""
        if (lazy := COMMANDS.get(cmd_name)) is None:
            return None
        found = getattr(import_module(lazy.module), lazy.attribute)
        if not isinstance(found, typer.Typer):
            alone = App(add_completion=False, rich_markup_mode=None, context_settings=CONTEXT)
            alone.command(cmd_name, hidden=lazy.hidden)(found)
            found = alone
        made = typer.main.get_command(found)
        made.name, made.hidden = cmd_name, lazy.hidden
        return made

    def invoke(self, ctx: Any) -> Any:
        """Run a command; say in this project's words why the value of an option is refused."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from rdrkd.cli.refusals import refusal

            raise refusal(error) from error.__cause__

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with their lines, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items() if not lazy.hidden])


app = typer.Typer(
    cls=Commands,
    name="rdrkd",
    help="Distil a large drone detector into a small one with RDR-KD: on this machine, or as a REST service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the list of commands is plain text: rich takes longer to import than the rest
    context_settings=CONTEXT,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Distil a large drone detector into a small one with RDR-KD: on this machine, or as a REST service."""


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    die_with_parent()  # if a worker started it
    try:
        app()
    except (RdrkdError, OSError) as error:  # from a command without events
        from rich.console import Console

        from rdrkd.cli.run_output import show_failure
        from rdrkd.events import EXIT_FAILED
        from rdrkd.process.process import failure_of, is_of_a_file

        if isinstance(error, OSError) and not is_of_a_file(error):
            raise
        show_failure(failure_of(error), Console(stderr=True))
        raise SystemExit(EXIT_FAILED) from error
