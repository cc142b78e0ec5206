"""`rdrkd studies`."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from rdrkd.commands import inputs
from rdrkd.commands.connection import (
    URL,
    Id,
    Json,
    Limit,
    Output,
    Timeout,
    TokenFile,
    Url,
    Wait,
    connected,
    leave,
    new_app,
)

studies = new_app("Studies of a service: methods compared over seeds.")


@studies.command("submit")
def submit_study(
    spec: Annotated[Path, typer.Argument(help="Study spec, YAML or JSON; files that it names are uploaded first.")],
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Submit a study, and print it."""
    with connected(url, token_file, as_json) as (service, terminal):
        study = service.submit_study(inputs.sent(inputs.read(spec), spec.parent, service, terminal.note))
        if wait:
            study = service.wait_study(study.id, news=terminal.state if not as_json else None)
        terminal.one(study)
        leave(study)


@studies.command("list")
def list_studies(limit: Limit = 20, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List studies, newest first."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.many("studies", islice(service.studies(), limit))


@studies.command("show")
def show_study(study: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Print a study with its members."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.one(service.study(study))


@studies.command("watch")
def watch_study(
    study: Id, timeout: Timeout = None, url: Url = URL, token_file: TokenFile = None, as_json: Json = False
) -> None:
    """Follow a study until it has ended; exit status 3 if a member does not succeed."""
    with connected(url, token_file, as_json) as (service, terminal):
        leave(service.wait_study(study, timeout, terminal.state))


@studies.command("cancel")
def cancel_study(study: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Cancel every member of a study."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.one(service.cancel_study(study))


@studies.command("delete")
def delete_study(study: Id, url: Url = URL, token_file: TokenFile = None) -> None:
    """Delete a study, its ended or paused jobs, and their files."""
    with connected(url, token_file, as_json=False) as (service, terminal):
        service.delete_study(study)
        terminal.note(f"{study}: deleted")


@studies.command("report")
def study_report(
    study: Id,
    output: Output = Path("report.html"),
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Download a study's report (.html, .md, .csv or .json, by the output's name), and print its path.

    If there is none yet, one of the members that have succeeded so far is made first.
    """
    from rdrkd.client import Refused

    form = {".html": "html", ".md": "markdown", ".csv": "csv", ".json": "json"}.get(output.suffix)
    if form is None:
        raise typer.BadParameter(f"expected a file named *.html, *.md, *.csv or *.json, got {output.name}")
    with connected(url, token_file, as_json=False) as (service, _):
        try:
            written = service.download_report(study, output, form)
        except Refused as error:
            if error.code != "not_ready":
                raise
            service.wait(service.draw_report(study).id)
            written = service.download_report(study, output, form)
        typer.echo(written)
