"""`rdrkd jobs`."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from rdrkd.cli import inputs, own_data
from rdrkd.cli.connection import Id, Limit, Output, Service, Timeout, Wait, command, leave, new_app
from rdrkd.cli.own_data import Baseline, Batch, Epochs, Imgsz, PresetName, RunName
from rdrkd.cli.terminal import Terminal

jobs = new_app("Jobs of a service: submit, follow, cancel, fetch their weights.")


@command(jobs, "submit")
def submit_job(
    service: Service,
    terminal: Terminal,
    spec: Annotated[
        Path | None,
        typer.Argument(
            help="Job spec, YAML or JSON; or use the options below. Files that either names are uploaded once.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Weights file, or a model's or job's id.", show_default=False)
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Architecture such as yolov8n, or as --teacher.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Dataset: folder, data YAML, zip or tar; or an id or name.", show_default=False)
    ] = None,
    epochs: Epochs = None,
    imgsz: Imgsz = None,
    batch: Batch = None,
    preset: PresetName = None,
    name: RunName = None,
    baseline: Baseline = None,
    wait: Wait = False,
) -> None:
    """Submit a job, and print it: `--teacher l.pt --student yolov8n --data scenes.zip`, or a spec."""
    options = own_data.asked(
        {"teacher": teacher, "student": student, "data": data, "epochs": epochs, "imgsz": imgsz, "batch": batch,
         "preset": preset, "name": name, "baseline": baseline}
    )  # fmt: skip
    if spec is not None:
        own_data.refuse_with_spec(options)
        content = inputs.sent(inputs.read(spec), spec.parent, service, terminal.note)
    else:
        own_data.require(options)
        content = own_data.chosen_for(options, service, terminal.note)
    job = service.submit(content)
    if wait:
        job = service.wait(job.id, news=terminal.state if not terminal.as_json else None)
    terminal.one(job)
    leave(job)


@command(jobs, "list")
def list_jobs(
    service: Service,
    terminal: Terminal,
    status: Annotated[list[str] | None, typer.Option(help="Statuses to include; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="`key=value`; if repeated, all must match.")] = None,
    kind: Annotated[str | None, typer.Option(help="distill, train, evaluate or export.")] = None,
    limit: Limit = 20,
) -> None:
    """List jobs, newest first."""
    filters: dict[str, Any] = {"status": status or None, "label": label or None, "kind": kind}
    terminal.many("jobs", islice(service.jobs(**filters), limit))


@command(jobs, "show")
def show_job(service: Service, terminal: Terminal, job: Id) -> None:
    """Print a job in full."""
    terminal.one(service.job(job))


@command(jobs, "watch")
def watch_job(service: Service, terminal: Terminal, job: Id, timeout: Timeout = None) -> None:
    """Follow a job until it has ended; exit status 3 if it does not succeed."""
    leave(service.wait(job, timeout, terminal.state))


@command(jobs, "cancel")
def cancel_job(service: Service, terminal: Terminal, job: Id) -> None:
    """Cancel a job, and print it: `cancelled`, or `cancelling` while its trainer stops."""
    seen = service.cancel(job)
    terminal.one(seen) if terminal.as_json else terminal.state(seen)


@command(jobs, "retry")
def retry_job(
    service: Service,
    terminal: Terminal,
    job: Id,
    scratch: Annotated[bool, typer.Option("--scratch", help="Start over, not from the newest checkpoint.")] = False,
) -> None:
    """Retry a failed or cancelled job."""
    terminal.state(service.retry(job, scratch))


@command(jobs, "pause")
def pause_job(
    service: Service,
    terminal: Terminal,
    job: Id,
    now: Annotated[bool, typer.Option("--now", help="Pause at once and discard the current epoch.")] = False,
) -> None:
    """Pause a job and free its worker until it is resumed."""
    terminal.state(service.pause(job, now))


@command(jobs, "resume")
def resume_job(service: Service, terminal: Terminal, job: Id) -> None:
    """Resume a paused job."""
    terminal.state(service.resume(job))


@command(jobs, "delete", with_json=False)
def delete_job(
    service: Service,
    terminal: Terminal,
    job: Id,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the job's newest weights.")] = False,
) -> None:
    """Delete an ended or paused job and its files."""
    service.delete(job, keep_weights)
    terminal.note(f"{job}: deleted")


@command(jobs, "logs", with_json=False)
def job_logs(
    service: Service,
    terminal: Terminal,
    job: Id,
    tail: Annotated[int | None, typer.Option(min=1, max=10_000, help="Number of last lines to print.")] = None,
) -> None:
    """Print the output of a job's trainers."""
    typer.echo(service.logs(job, tail), nl=False)


@command(jobs, "validate", with_json=False)
def validate_job(
    service: Service,
    terminal: Terminal,
    spec: Annotated[Path, typer.Argument(help="Job spec, YAML or JSON, with inputs by id.")],
) -> None:
    """Validate a job without submitting it: print its resolved spec, findings and estimate."""
    terminal.one(service.validate(inputs.read(spec)))


@command(jobs, "metrics", with_json=False)
def job_metrics(service: Service, terminal: Terminal, job: Id) -> None:
    """Print the metrics of every finished epoch, one JSON object per line."""
    for epoch in service.metrics(job):
        Terminal(as_json=True).one(epoch)


@command(jobs, "artifacts")
def job_artifacts(service: Service, terminal: Terminal, job: Id) -> None:
    """List a job's artifacts."""
    terminal.many("artifacts", service.artifacts(job))


@command(jobs, "weights", with_json=False)
def job_weights(
    service: Service,
    terminal: Terminal,
    job: Id,
    output: Output = Path("student.pt"),
    name: Annotated[
        str | None, typer.Option("--artifact", help="Artifact to download instead, such as report.html.")
    ] = None,
) -> None:
    """Download a job's newest weights (.pt or .safetensors, by the output's name), and print their path."""
    with terminal.bar(output.name) as told:
        if name is not None:
            typer.echo(service.download_artifact(job, name, output, told))
        else:
            form: Any = "safetensors" if output.suffix == ".safetensors" else "pt"
            typer.echo(service.download_weights(job, output, form, told))
