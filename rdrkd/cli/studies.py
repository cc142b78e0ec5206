"""`rdrkd studies`, alias `rdrkd study`: studies on a service, and on this machine (`run`, `merge`, tables)."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from rdrkd.cli import inputs
from rdrkd.cli import study as study_here
from rdrkd.cli.connection import (
    URL,
    Id,
    Json,
    Limit,
    Output,
    Service,
    Timeout,
    TokenFile,
    Url,
    Wait,
    command,
    connected,
    leave,
)
from rdrkd.cli.following import Follower, stoppable
from rdrkd.cli.groups import new_app
from rdrkd.cli.output_files import target_of
from rdrkd.cli.terminal import Terminal

studies = new_app(
    "Compare methods over seeds: mean, spread, paired differences with confidence intervals. `run`, `merge`, `schema` "
    "and the tables work on this machine, the others on a service. `rdrkd study` is the same as `rdrkd studies`."
)
studies.registered_commands += study_here.app.registered_commands


@command(studies, "submit")
def submit_study(
    service: Service,
    terminal: Terminal,
    spec: Annotated[Path, typer.Argument(help="Study spec, YAML or JSON, `-`: from stdin. Its files are uploaded.")],
    wait: Wait = False,
) -> None:
    """Submit a study, and print its id."""
    folder, validate = inputs.folder_of(spec), service.validate_study
    with stoppable(terminal, "a study"):
        content = inputs.sent(inputs.read(spec, "studies submit"), folder, service, terminal.note, validate)
    study = service.submit_study(content)
    if not wait:
        terminal.submitted(study, "studies")
        leave(study)
    _followed(service, terminal, study.id, None)


@command(studies, "list")
def list_studies(service: Service, terminal: Terminal, limit: Limit = 20) -> None:
    """List studies, newest first."""
    terminal.many("studies", islice(service.studies(), limit))


@command(studies, "show")
def show_study(service: Service, terminal: Terminal, study: Id) -> None:
    """Print a study with its members; `--json` prints everything."""
    terminal.one(service.study(study))


@command(studies, "watch")
def watch_study(service: Service, terminal: Terminal, study: Id, timeout: Timeout = None) -> None:
    """Follow a study until it has ended; exit status 3 if a member does not succeed. Ctrl-C only detaches."""
    _followed(service, terminal, study, timeout)


@command(studies, "wait")
def wait_for_study(service: Service, terminal: Terminal, study: Id, timeout: Timeout = None) -> None:
    """Wait silently until a study has ended; exit status 0 if it succeeded, 3 if not, 5 on timeout."""
    seen = service.wait_study(study, timeout)
    if terminal.as_json:
        terminal.one(seen)
    leave(seen)


@command(studies, "extend")
def extend_study(
    service: Service,
    terminal: Terminal,
    study: Id,
    method: Annotated[list[str] | None, typer.Option(help="Preset or group to add; may be repeated.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed to add; may be repeated.")] = None,
) -> None:
    """Add methods or seeds to a study, and print it; existing members are not changed."""
    if not (method or seed):
        raise typer.BadParameter("expected --method or --seed, got neither")
    more = {"methods": method, "seeds": seed}
    terminal.one(service.extend_study(study, {name: values for name, values in more.items() if values}))


@command(studies, "resume")
def resume_study(service: Service, terminal: Terminal, study: Id) -> None:
    """Resume a study: retry its failed and cancelled members."""
    terminal.one(service.resume_study(study))


@command(studies, "cancel")
def cancel_study(service: Service, terminal: Terminal, study: Id) -> None:
    """Cancel every member of a study."""
    terminal.one(service.cancel_study(study))


@command(studies, "delete")
def delete_study(service: Service, terminal: Terminal, study: Id) -> None:
    """Delete a study, its ended or paused jobs, and their files."""
    service.delete_study(study)
    terminal.removed(study)


@studies.command("report")
def study_report(
    study: Annotated[
        str, typer.Argument(help="A study's results (study.json), or its id or name on a service.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the report, for results.", show_default=False)] = None,
    output: Output = None,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Write the report of local results, or download report.html (or .md, .csv, .json) from a service.

    If the service has no report yet, it first draws one of the members that have succeeded so far.
    """
    if out is not None or Path(study).is_file():
        if out is None:
            raise typer.BadParameter(f"expected --out, the folder of the report on {study}, got none")
        study_here.write(Path(study), out)
        return
    forms = {".html": "html", ".md": "markdown", ".csv": "csv", ".json": "json"}
    target = target_of(output, "report.html", forms)
    with connected(url, token_file, as_json, [study]) as (service, terminal):
        terminal.file(_downloaded(service, study, target, forms[target.suffix]))


def _downloaded(service: Service, study: str, output: Path, form: str) -> Path:
    from rdrkd.client import Refused

    try:
        return service.download_report(study, output, form)
    except Refused as error:
        if error.code != "not_ready":
            raise
        service.wait(service.draw_report(study).id)
        return service.download_report(study, output, form)


def _followed(service: Service, terminal: Terminal, study_id: str, timeout: float | None) -> None:
    """Follow a study to its end, and exit with its status."""
    study = Follower(terminal, "studies").follow(study_id, lambda news: service.wait_study(study_id, timeout, news))
    if not terminal.as_json:
        terminal.note(f"see `rdrkd studies report {study.id} -o report.html`")
    leave(study)
