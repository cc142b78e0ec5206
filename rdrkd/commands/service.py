"""`rdrkd jobs`, `datasets`, `models`, `studies`: the service from the command line.

Exit status: 0 it went well, 2 the command is wrong, 3 the service refused or what was waited for failed, 4 the service
does not answer, 5 the wait was over first.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdrkd.commands import inputs
from rdrkd.commands.terminal import Terminal
from rdrkd.events import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from rdrkd.client import Client

EXIT_UNREACHABLE, EXIT_NOT_ENDED = 4, 5
Id = Annotated[str, typer.Argument(help="Its id.", show_default=False)]
Url = Annotated[str, typer.Option("--url", envvar="RDRKD_URL", help="Where the service is.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with the token; or set RDRKD_TOKEN, which no other user of the machine can see."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, a line for each thing.")]
Limit = Annotated[int, typer.Option(min=1, help="How many, newest first.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where it goes.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it has ended.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Longest wait, seconds.", show_default=False)]
Upload = Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False, show_default=False)]
LeaveOut = Annotated[
    bool, typer.Option("--lenient", help="Leave out what is at fault, and list it, instead of refusing the whole.")
]
Resume = Annotated[str | None, typer.Option(help="Address of an upload that broke off: go on with it.")]
URL = "http://127.0.0.1:8000"


@contextmanager
def _service(url: str, token_file: Path | None, as_json: bool) -> Iterator[tuple["Client", Terminal]]:
    """Connect, and turn what goes wrong on the way into an exit status of its own."""
    from rdrkd.client import Client, NotEnded, Unreachable, UploadBroken  # a trainer that starts needs none of it

    terminal = Terminal(as_json)
    token = token_file.read_text().strip() if token_file else os.environ.get("RDRKD_TOKEN")
    try:
        with Client(url, token) as client:
            yield client, terminal
    except (Unreachable, UploadBroken) as error:
        terminal.note(f"error: {error} (service: {url})")
        raise typer.Exit(EXIT_UNREACHABLE) from error
    except NotEnded as error:
        terminal.note(f"error: {error}")
        raise typer.Exit(EXIT_NOT_ENDED) from error


def _app(help_: str) -> typer.Typer:
    return typer.Typer(help=help_, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


jobs = _app("Jobs of a service: submit, follow, cancel, fetch their weights.")
datasets = _app("Datasets of a service.")
models = _app("Models of a service: teachers and start weights.")
workers = _app("Workers of a service.")
studies = _app("Studies of a service: methods compared over seeds.")


@jobs.command("submit")
def submit_job(
    spec: Annotated[Path, typer.Argument(help="Job spec, YAML or JSON; files that it names are sent first.")],
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Queue a job; prints it."""
    with _service(url, token_file, as_json) as (service, terminal):
        job = service.submit(inputs.sent(inputs.read(spec), spec.parent, service, terminal.note))
        if wait:
            job = service.wait(job.id, news=terminal.state if not as_json else None)
        terminal.one(job)
        _leave(job)


@jobs.command("list")
def list_jobs(
    status: Annotated[list[str] | None, typer.Option(help="Only these; may be given several times.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="`key=value`; several must all hold.")] = None,
    kind: Annotated[str | None, typer.Option(help="distill, train, evaluate or export.")] = None,
    limit: Limit = 20,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    filters: dict[str, Any] = {"status": status or None, "label": label or None, "kind": kind}
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.many("jobs", islice(service.jobs(**filters), limit))


@jobs.command("show")
def show_job(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Print a job, whole."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.one(service.job(job))


@jobs.command("watch")
def watch_job(
    job: Id, timeout: Timeout = None, url: Url = URL, token_file: TokenFile = None, as_json: Json = False
) -> None:
    """Follow a job to its end; exit status 3 if it does not succeed."""
    with _service(url, token_file, as_json) as (service, terminal):
        _leave(service.wait(job, timeout, terminal.state))


@jobs.command("cancel")
def cancel_job(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Ask a job to end; prints it as it is then: `cancelled`, or `cancelling` while its trainer stops."""
    with _service(url, token_file, as_json) as (service, terminal):
        seen = service.cancel(job)
        terminal.one(seen) if as_json else terminal.state(seen)


@jobs.command("retry")
def retry_job(
    job: Id,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="From the beginning, not from the newest checkpoint.")
    ] = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Let a job that has failed or was cancelled go on."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.state(service.retry(job, scratch))


@jobs.command("pause")
def pause_job(
    job: Id,
    now: Annotated[bool, typer.Option("--now", help="Do not finish the epoch: what was done of it is lost.")] = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Hold a job back, without a worker, until it is resumed."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.state(service.pause(job, now))


@jobs.command("resume")
def resume_job(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Queue a paused job again."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.state(service.resume(job))


@jobs.command("delete")
def delete_job(
    job: Id,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Its newest weights stay.")] = False,
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Delete a job that has ended or is paused, with its files."""
    with _service(url, token_file, as_json=False) as (service, terminal):
        service.delete(job, keep_weights)
        terminal.note(f"{job}: deleted")


@jobs.command("logs")
def job_logs(
    job: Id,
    tail: Annotated[int | None, typer.Option(min=1, max=10_000, help="The last lines, so many.")] = None,
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Print what the trainers of a job have printed."""
    with _service(url, token_file, as_json=False) as (service, _):
        typer.echo(service.logs(job, tail), nl=False)


@jobs.command("validate")
def validate_job(
    spec: Annotated[Path, typer.Argument(help="Job spec, YAML or JSON, that names its inputs by id.")],
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Try a job on paper: prints its spec with every default, and what is known of its memory and time."""
    with _service(url, token_file, as_json=False) as (service, terminal):
        terminal.one(service.validate(inputs.read(spec)))


@jobs.command("metrics")
def job_metrics(job: Id, url: Url = URL, token_file: TokenFile = None) -> None:
    """Print every finished epoch, a line of JSON each."""
    with _service(url, token_file, as_json=True) as (service, terminal):
        for epoch in service.metrics(job):
            terminal.one(epoch)


@jobs.command("artifacts")
def job_artifacts(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List the files that a job has published."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.many("artifacts", service.artifacts(job))


@jobs.command("weights")
def job_weights(
    job: Id,
    output: Output = Path("student.pt"),
    name: Annotated[
        str | None, typer.Option("--artifact", help="Another file than the weights, such as report.html.")
    ] = None,
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Download a job's newest weights (.pt or .safetensors, by the output's name); prints where they are."""
    with _service(url, token_file, as_json=False) as (service, terminal), terminal.bar(output.name) as told:
        if name is not None:
            typer.echo(service.download_artifact(job, name, output, told))
        else:
            form: Any = "safetensors" if output.suffix == ".safetensors" else "pt"
            typer.echo(service.download_weights(job, output, form, told))


def _uploads(app: typer.Typer, what: str) -> None:
    """Give an app the commands that datasets and models share."""

    @app.command("list")
    def newest(limit: Limit = 20, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
        """List them, newest first."""
        with _service(url, token_file, as_json) as (service, terminal):
            rows = service.datasets() if what == "datasets" else service.models()
            terminal.many(what, islice(rows, limit))

    @app.command("show")
    def show(id_: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
        """Print one, whole: what the check found, or why it was refused."""
        with _service(url, token_file, as_json) as (service, terminal):
            terminal.one(service.dataset(id_) if what == "datasets" else service.model(id_))


_uploads(datasets, "datasets")
_uploads(models, "models")


@datasets.command("upload")
def upload_dataset(
    file: Upload,
    name: Annotated[str | None, typer.Option(help="A name for people; each upload is a version of it.")] = None,
    lenient: LeaveOut = False,
    resume: Resume = None,
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Send a dataset, a zip or tar; prints what it became. Broken connections are gone on with."""
    with _service(url, token_file, as_json) as (service, terminal):
        with terminal.bar(file.name) as told:
            row = service.upload_dataset(file, name, told, resume, lenient)
        if row.same_content_as is not None:
            terminal.note(f"{row.id}: the same content as {row.same_content_as}, an earlier version of this name")
        _end_of_upload(service.wait_dataset(row.id) if wait else row, terminal)


@datasets.command("import")
def import_dataset(
    folder: Annotated[str, typer.Argument(help="NAME/PATH, in a folder that the operator allows.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="A name for people; each import is a version of it.")] = None,
    lenient: LeaveOut = False,
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Make a dataset of a folder on the service's machine; prints it."""
    with _service(url, token_file, as_json) as (service, terminal):
        row = service.import_dataset(folder, name, lenient)
        _end_of_upload(service.wait_dataset(row.id) if wait else row, terminal)


@models.command("upload")
def upload_model(
    file: Upload,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    resume: Resume = None,
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Send a model; prints what it became. Broken connections are gone on with."""
    with _service(url, token_file, as_json) as (service, terminal):
        with terminal.bar(file.name) as told:
            row = service.upload_model(file, name, told, resume)
        _end_of_upload(service.wait_model(row.id) if wait else row, terminal)


@datasets.command("preview")
def dataset_preview(
    dataset: Id, output: Output = Path("preview.jpg"), url: Url = URL, token_file: TokenFile = None
) -> None:
    """Download a picture of some of a dataset's images with their boxes; prints where it is."""
    with _service(url, token_file, as_json=False) as (service, _):
        typer.echo(service.download_preview(dataset, output))


def _end_of_upload(row: Any, terminal: Terminal) -> None:
    terminal.one(row)
    raise typer.Exit(EXIT_FAILED if row.status == "invalid" else EXIT_DONE)


@models.command("register")
def register_model(
    job: Annotated[str, typer.Argument(help="Id of a job that has succeeded.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Its versions are numbered by it; default: the job's name.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="Means it from here on; may be given several times.")] = None,
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Make a model of a job's student; prints it."""
    with _service(url, token_file, as_json) as (service, terminal):
        row = service.register(job, name, alias or ())
        _end_of_upload(service.wait_model(row.id) if wait else row, terminal)


@models.command("alias")
def alias_model(
    model: Id,
    alias: Annotated[str, typer.Argument(help="Such as `production`.", show_default=False)],
    remove: Annotated[bool, typer.Option("--remove", help="Forget it.")] = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Let an alias of a model's name mean this version; jobs then name it as `NAME@ALIAS`."""
    with _service(url, token_file, as_json) as (service, terminal):
        if remove:
            service.delete_alias(model, alias)
        else:
            terminal.one(service.move_alias(model, alias))


@models.command("download")
def download_model(
    model: Id,
    output: Output = Path("model.pt"),
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Download a model (.pt or .safetensors, by the output's name); prints where it is."""
    form = output.suffix.removeprefix(".")
    if form not in ("pt", "safetensors"):
        raise typer.BadParameter(f"expected a file named *.pt or *.safetensors, got {output.name}")
    with _service(url, token_file, as_json=False) as (service, terminal), terminal.bar(output.name) as told:
        typer.echo(service.download_model(model, output, form, told))  # type: ignore[arg-type]


@models.command("delete")
def delete_model(model: Id, url: Url = URL, token_file: TokenFile = None) -> None:
    """Delete a model that no job, no study and no alias names."""
    with _service(url, token_file, as_json=False) as (service, terminal):
        service.delete_model(model)
        terminal.note(f"{model}: deleted")


@workers.command("list")
def list_workers(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List the workers, with what they do."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.many("workers", service.workers())


@workers.command("queue")
def queue(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Say how many jobs are where, and which is next."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.one(service.queue())


@studies.command("submit")
def submit_study(
    spec: Annotated[Path, typer.Argument(help="Study spec, YAML or JSON; files that it names are sent first.")],
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Queue a study; prints it."""
    with _service(url, token_file, as_json) as (service, terminal):
        study = service.submit_study(inputs.sent(inputs.read(spec), spec.parent, service, terminal.note))
        if wait:
            study = service.wait_study(study.id, news=terminal.state if not as_json else None)
        terminal.one(study)
        _leave(study)


@studies.command("list")
def list_studies(limit: Limit = 20, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List studies, newest first."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.many("studies", islice(service.studies(), limit))


@studies.command("show")
def show_study(study: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Print a study with its members."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.one(service.study(study))


@studies.command("watch")
def watch_study(
    study: Id, timeout: Timeout = None, url: Url = URL, token_file: TokenFile = None, as_json: Json = False
) -> None:
    """Follow a study to its end; exit status 3 if a member does not succeed."""
    with _service(url, token_file, as_json) as (service, terminal):
        _leave(service.wait_study(study, timeout, terminal.state))


@studies.command("cancel")
def cancel_study(study: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Ask every member of a study to end."""
    with _service(url, token_file, as_json) as (service, terminal):
        terminal.one(service.cancel_study(study))


@studies.command("report")
def study_report(
    study: Id,
    output: Output = Path("report.html"),
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Download a study's report (.html, .md, .csv or .json, by the output's name); prints where it is."""
    form = {".html": "html", ".md": "markdown", ".csv": "csv", ".json": "json"}.get(output.suffix)
    if form is None:
        raise typer.BadParameter(f"expected a file named *.html, *.md, *.csv or *.json, got {output.name}")
    with _service(url, token_file, as_json=False) as (service, _):
        typer.echo(service.download_report(study, output, form))


def _leave(seen: Any) -> None:
    raise typer.Exit(EXIT_FAILED if seen.status in ("failed", "cancelled") else EXIT_DONE)


def doctor(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Look at a deployment: what is wrong with it, and what to do; exit status 3 where it cannot do its work."""
    from rdrkd.commands.doctor import findings

    with _service(url, token_file, as_json) as (service, terminal):
        found = list(findings(service))
        terminal.many("findings", [finding._asdict() for finding in found])
        raise typer.Exit(EXIT_FAILED if any(finding.state == "fault" for finding in found) else EXIT_DONE)
