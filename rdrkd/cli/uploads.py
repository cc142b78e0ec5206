"""Options and commands shared by `rdrkd datasets` and `rdrkd models`."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rdrkd.cli.connection import Id, Limit, Service, command
from rdrkd.cli.distill_inputs import DATASET, WEIGHTS, kind_of
from rdrkd.cli.facts import content_of
from rdrkd.cli.terminal import Terminal
from rdrkd.events import EXIT_DONE, EXIT_FAILED

Upload = Annotated[Path, typer.Argument(help="File to upload.", exists=True, dir_okay=False, show_default=False)]
LeaveOut = Annotated[
    bool, typer.Option("--lenient", help="Leave out faulty parts and list them, instead of refusing the dataset.")
]
Keep = Annotated[bool, typer.Option("--keep", help="With --lenient: keep images that lose one of their boxes.")]
Divide = Annotated[
    str | None,
    typer.Option(
        help="Split a dataset that has no splits: val=0.2,test=0.1,seed=3,prefix=_ (only val is required; prefix "
        "keeps images in the same split if their names agree up to its first occurrence).",
        show_default=False,
    ),
]
With = Annotated[str, typer.Option("--with", help="An owner, or `*` for everyone.", show_default=False)]
Shared = Annotated[
    bool | None,
    typer.Option("--shared/--own", help="Only those that others share with you, or only your own.", show_default=False),
]
Resume = Annotated[str | None, typer.Option(help="URL of an interrupted upload to resume.")]


def lists(app: typer.Typer, what: str) -> None:
    """Add the commands that datasets and models share to an app."""

    @command(app, "list")
    def newest(service: Service, terminal: Terminal, shared: Shared = None, limit: Limit = 20) -> None:
        """List your own and those that others share with you, newest first."""
        rows = service.datasets(shared=shared) if what == "datasets" else service.models(shared=shared)
        terminal.many(what, islice(rows, limit))

    @command(app, "show")
    def show(service: Service, terminal: Terminal, id_: Id) -> None:
        """Print one: its content and the findings of its check, or why it was refused; `--json` prints everything."""
        terminal.one(service.dataset(id_) if what == "datasets" else service.model(id_))

    _shares(app, "dataset" if what == "datasets" else "model")


def _shares(app: typer.Typer, kind: Literal["dataset", "model"]) -> None:
    @command(app, "share")
    def share(service: Service, terminal: Terminal, id_: Id, with_: With) -> None:
        """Let another owner, or everyone, read it and use it in jobs; print with whom it is shared."""
        terminal.many("shares", service.share(kind, id_, with_))

    @command(app, "unshare")
    def unshare(service: Service, terminal: Terminal, id_: Id, with_: With) -> None:
        """Stop sharing it with an owner, or with everyone; queued jobs keep it. Print with whom it is still shared."""
        service.unshare(kind, id_, with_)
        terminal.many("shares", service.shares(kind, id_))

    @command(app, "shares")
    def shares(service: Service, terminal: Terminal, id_: Id) -> None:
        """List with whom it is shared."""
        terminal.many("shares", service.shares(kind, id_))


def expect(kind: str, file: Path) -> None:
    """Check that a file to upload is not of the other kind, before anything is sent.

    Raises:
        BadParameter: it is a dataset among models, or the other way round.
    """
    groups = {WEIGHTS: "models", DATASET: "datasets"}
    if (found := kind_of(str(file))) != kind and found in groups:
        raise typer.BadParameter(
            f"expected {kind}, got {str(file)!r}, {found}; did you mean `rdrkd {groups[found]} upload {file}`?"
        )


def end_of_upload(row: Any, terminal: Terminal, wait: Callable[[str], Any] | None) -> None:
    """Wait for an upload's check if `wait` is given, print the upload's state, and exit with its status.

    People get its problems and warnings on stderr, as `rdrkd datasets check` words them, and its id on stdout.
    """
    if wait is not None:
        if not terminal.as_json:
            terminal.note(f"{row.id}: waiting for its check ...")
        row = wait(row.id)
    if terminal.as_json:
        terminal.one(row)
    else:
        for line in _end_of(row):
            terminal.note(line)
        typer.echo(row.id)
    raise typer.Exit(EXIT_FAILED if row.status == "invalid" else EXIT_DONE)


def _end_of(row: Any) -> Iterator[str]:
    """Yield what is to be said of an upload: its findings, its content, and the next command."""
    group, option = ("datasets", "--data") if row.id.startswith("ds_") else ("models", "--teacher")
    report = row.report or {}
    yield from (f"ERROR   {one['where']}: {one['detail']}" for one in row.problems)
    yield from (f"WARNING {text}" for text in report.get("warnings", ()))
    if row.status == "ready":
        yield f"ok: {content_of(report)}; use it with `rdrkd jobs submit {option} {row.id} ...`"
    else:
        yield f"{row.status}; see `rdrkd {group} show {row.id}`"
