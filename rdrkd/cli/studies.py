"""`rdrkd studies`."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from rdrkd.cli import inputs
from rdrkd.cli.connection import Id, Limit, Output, Service, Timeout, Wait, command, leave, new_app
from rdrkd.cli.terminal import Terminal

studies = new_app("Studies of a service: methods compared over seeds.")


@command(studies, "submit")
def submit_study(
    service: Service,
    terminal: Terminal,
    spec: Annotated[Path, typer.Argument(help="Study spec, YAML or JSON; files that it names are uploaded first.")],
    wait: Wait = False,
) -> None:
    """Submit a study, and print it."""
    study = service.submit_study(inputs.sent(inputs.read(spec), spec.parent, service, terminal.note))
    if wait:
        study = service.wait_study(study.id, news=terminal.state if not terminal.as_json else None)
    terminal.one(study)
    leave(study)


@command(studies, "list")
def list_studies(service: Service, terminal: Terminal, limit: Limit = 20) -> None:
    """List studies, newest first."""
    terminal.many("studies", islice(service.studies(), limit))


@command(studies, "show")
def show_study(service: Service, terminal: Terminal, study: Id) -> None:
    """Print a study with its members."""
    terminal.one(service.study(study))


@command(studies, "watch")
def watch_study(service: Service, terminal: Terminal, study: Id, timeout: Timeout = None) -> None:
    """Follow a study until it has ended; exit status 3 if a member does not succeed."""
    leave(service.wait_study(study, timeout, terminal.state))


@command(studies, "cancel")
def cancel_study(service: Service, terminal: Terminal, study: Id) -> None:
    """Cancel every member of a study."""
    terminal.one(service.cancel_study(study))


@command(studies, "delete", with_json=False)
def delete_study(service: Service, terminal: Terminal, study: Id) -> None:
    """Delete a study, its ended or paused jobs, and their files."""
    service.delete_study(study)
    terminal.note(f"{study}: deleted")


@command(studies, "report", with_json=False)
def study_report(
    service: Service,
    terminal: Terminal,
    study: Id,
    output: Output = Path("report.html"),
) -> None:
    """Download a study's report (.html, .md, .csv or .json, by the output's name), and print its path.

    If there is none yet, one of the members that have succeeded so far is made first.
    """
    from rdrkd.client import Refused

    form = {".html": "html", ".md": "markdown", ".csv": "csv", ".json": "json"}.get(output.suffix)
    if form is None:
        raise typer.BadParameter(f"expected a file named *.html, *.md, *.csv or *.json, got {output.name}")
    try:
        written = service.download_report(study, output, form)
    except Refused as error:
        if error.code != "not_ready":
            raise
        service.wait(service.draw_report(study).id)
        written = service.download_report(study, output, form)
    typer.echo(written)
