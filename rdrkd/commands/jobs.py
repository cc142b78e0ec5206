"""`rdrkd jobs`."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

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

jobs = new_app("Jobs of a service: submit, follow, cancel, fetch their weights.")


@jobs.command("submit")
def submit_job(
    spec: Annotated[Path, typer.Argument(help="Job spec, YAML or JSON; files that it names are uploaded first.")],
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Submit a job, and print it."""
    with connected(url, token_file, as_json) as (service, terminal):
        job = service.submit(inputs.sent(inputs.read(spec), spec.parent, service, terminal.note))
        if wait:
            job = service.wait(job.id, news=terminal.state if not as_json else None)
        terminal.one(job)
        leave(job)


@jobs.command("list")
def list_jobs(
    status: Annotated[list[str] | None, typer.Option(help="Statuses to include; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="`key=value`; if repeated, all must match.")] = None,
    kind: Annotated[str | None, typer.Option(help="distill, train, evaluate or export.")] = None,
    limit: Limit = 20,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    filters: dict[str, Any] = {"status": status or None, "label": label or None, "kind": kind}
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.many("jobs", islice(service.jobs(**filters), limit))


@jobs.command("show")
def show_job(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Print a job in full."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.one(service.job(job))


@jobs.command("watch")
def watch_job(
    job: Id, timeout: Timeout = None, url: Url = URL, token_file: TokenFile = None, as_json: Json = False
) -> None:
    """Follow a job until it has ended; exit status 3 if it does not succeed."""
    with connected(url, token_file, as_json) as (service, terminal):
        leave(service.wait(job, timeout, terminal.state))


@jobs.command("cancel")
def cancel_job(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Cancel a job, and print it: `cancelled`, or `cancelling` while its trainer stops."""
    with connected(url, token_file, as_json) as (service, terminal):
        seen = service.cancel(job)
        terminal.one(seen) if as_json else terminal.state(seen)


@jobs.command("retry")
def retry_job(
    job: Id,
    scratch: Annotated[bool, typer.Option("--scratch", help="Start over, not from the newest checkpoint.")] = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Retry a failed or cancelled job."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.state(service.retry(job, scratch))


@jobs.command("pause")
def pause_job(
    job: Id,
    now: Annotated[bool, typer.Option("--now", help="Pause at once and discard the current epoch.")] = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Pause a job and free its worker until it is resumed."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.state(service.pause(job, now))


@jobs.command("resume")
def resume_job(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Resume a paused job."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.state(service.resume(job))


@jobs.command("delete")
def delete_job(
    job: Id,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the job's newest weights.")] = False,
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Delete an ended or paused job and its files."""
    with connected(url, token_file, as_json=False) as (service, terminal):
        service.delete(job, keep_weights)
        terminal.note(f"{job}: deleted")


@jobs.command("logs")
def job_logs(
    job: Id,
    tail: Annotated[int | None, typer.Option(min=1, max=10_000, help="Number of last lines to print.")] = None,
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Print the output of a job's trainers."""
    with connected(url, token_file, as_json=False) as (service, _):
        typer.echo(service.logs(job, tail), nl=False)


@jobs.command("validate")
def validate_job(
    spec: Annotated[Path, typer.Argument(help="Job spec, YAML or JSON, with inputs by id.")],
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Validate a job without submitting it: print its resolved spec, findings and estimate."""
    with connected(url, token_file, as_json=False) as (service, terminal):
        terminal.one(service.validate(inputs.read(spec)))


@jobs.command("metrics")
def job_metrics(job: Id, url: Url = URL, token_file: TokenFile = None) -> None:
    """Print the metrics of every finished epoch, one JSON object per line."""
    with connected(url, token_file, as_json=True) as (service, terminal):
        for epoch in service.metrics(job):
            terminal.one(epoch)


@jobs.command("artifacts")
def job_artifacts(job: Id, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List a job's artifacts."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.many("artifacts", service.artifacts(job))


@jobs.command("weights")
def job_weights(
    job: Id,
    output: Output = Path("student.pt"),
    name: Annotated[
        str | None, typer.Option("--artifact", help="Artifact to download instead, such as report.html.")
    ] = None,
    url: Url = URL,
    token_file: TokenFile = None,
) -> None:
    """Download a job's newest weights (.pt or .safetensors, by the output's name), and print their path."""
    with connected(url, token_file, as_json=False) as (service, terminal), terminal.bar(output.name) as told:
        if name is not None:
            typer.echo(service.download_artifact(job, name, output, told))
        else:
            form: Any = "safetensors" if output.suffix == ".safetensors" else "pt"
            typer.echo(service.download_weights(job, output, form, told))
