"""`rdrkd jobs`."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rdrkd.cli import distill_on_service, distill_options, inputs
from rdrkd.cli.connection import Id, Limit, Output, Service, Timeout, Wait, command, leave
from rdrkd.cli.distill_options import Baseline, Batch, Epochs, Imgsz, PresetName, RunName
from rdrkd.cli.epoch_words import cell_of
from rdrkd.cli.following import Follower, stoppable
from rdrkd.cli.groups import new_app
from rdrkd.cli.job_notes import detail_of, unfinished, why_silent
from rdrkd.cli.job_view import lines_of
from rdrkd.cli.output_files import target_of
from rdrkd.cli.run_output import show_result
from rdrkd.cli.terminal import Terminal, plain

_FOLLOW_SECONDS = 1.0  # between polls for new lines

jobs = new_app("Jobs of a service: submit, follow, cancel, fetch their weights.")


@command(jobs, "submit")
def submit_job(
    service: Service,
    terminal: Terminal,
    spec: Annotated[
        Path | None,
        typer.Argument(
            help="Job spec, YAML or JSON, `-`: from stdin; or use the options below. Local files in either are "
            "uploaded once.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Weights file, official weights such as yolov8l.pt, or the id of a model or job.", show_default=False
        ),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Architecture such as yolov8n, or any value of --teacher.", show_default=False)
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
    """Submit a job, and print its id: `--teacher l.pt --student yolov8n --data scenes.zip`, or a spec."""
    options = distill_options.asked(
        {"teacher": teacher, "student": student, "data": data, "epochs": epochs, "imgsz": imgsz, "batch": batch,
         "preset": preset, "name": name, "baseline": baseline}
    )  # fmt: skip
    with stoppable(terminal, "a job"):
        if spec is not None:
            distill_options.refuse_with_spec(spec, "jobs submit", options)
            content = inputs.sent(
                inputs.read(spec, "jobs submit"), inputs.folder_of(spec), service, terminal.note, service.validate
            )
        else:
            distill_options.require(options, "teacher", "student", "data")
            content = distill_on_service.chosen_for(options, service, terminal.note)
    for finding in service.validate(content)["findings"]:
        if finding["level"] == "warning" and finding["pointer"] != "/dataset":  # its upload ends with those
            terminal.note(f"warning: {finding['detail']}")
    job = service.submit(content)
    if not wait:
        terminal.submitted(job, "jobs")
        leave(job)
    _followed(service, terminal, job.id, None, str if spec is not None else distill_options.advice_in_options)


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
    rows = map(plain, islice(service.jobs(**filters), limit))
    terminal.many("jobs", rows if terminal.as_json else (row | {"epoch": cell_of(row)} for row in rows))


@command(jobs, "show")
def show_job(service: Service, terminal: Terminal, job: Id) -> None:
    """Print a job: its state, inputs, settings and result; `--json` prints everything."""
    row = service.job(job)
    if terminal.as_json:
        terminal.one(row)
    else:
        terminal.facts(lines_of(plain(row)))


@command(jobs, "watch")
def watch_job(service: Service, terminal: Terminal, job: Id, timeout: Timeout = None) -> None:
    """Follow a job until it has ended, and print its metrics; exit status 3 if it does not succeed.

    Ctrl-C detaches; the job continues.
    """
    _followed(service, terminal, job, timeout)


@command(jobs, "wait")
def wait_for_jobs(
    service: Service,
    terminal: Terminal,
    job: Annotated[list[str], typer.Argument(help="Ids or names.", show_default=False)],
    timeout: Timeout = None,
) -> None:
    """Wait silently until jobs have ended; exit status 0 if all succeeded, 3 if one did not, 5 on timeout."""
    end = None if timeout is None else time.monotonic() + timeout
    seen = [service.wait(each, None if end is None else max(0.0, end - time.monotonic())) for each in job]
    if terminal.as_json:
        terminal.many("jobs", seen)
    leave(next((each for each in seen if each.status != "succeeded"), seen[-1]))


@command(jobs, "cancel")
def cancel_job(service: Service, terminal: Terminal, job: Id) -> None:
    """Cancel a job, and print it: `cancelled`, or `cancelling` while its trainer stops."""
    seen = service.cancel(job)
    Follower(terminal, "jobs").show(seen)


@command(jobs, "retry")
def retry_job(
    service: Service,
    terminal: Terminal,
    job: Id,
    scratch: Annotated[bool, typer.Option("--scratch", help="Start over, not from the newest checkpoint.")] = False,
) -> None:
    """Retry a failed or cancelled job."""
    Follower(terminal, "jobs").show(service.retry(job, scratch))


@command(jobs, "pause")
def pause_job(
    service: Service,
    terminal: Terminal,
    job: Id,
    now: Annotated[bool, typer.Option("--now", help="Pause at once and discard the current epoch.")] = False,
) -> None:
    """Pause a job and free its worker until it is resumed."""
    paused = service.pause(job, now)
    Follower(terminal, "jobs").show(paused)
    if paused.status == "pausing" and not now and not terminal.as_json:
        terminal.note("it pauses at the end of the current epoch; `--now` pauses at once and discards that epoch")


@command(jobs, "resume")
def resume_job(service: Service, terminal: Terminal, job: Id) -> None:
    """Resume a paused job."""
    Follower(terminal, "jobs").show(service.resume(job))


@command(jobs, "delete")
def delete_job(
    service: Service,
    terminal: Terminal,
    job: Id,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the job's newest weights.")] = False,
) -> None:
    """Delete an ended or paused job and its files."""
    service.delete(job, keep_weights)
    terminal.removed(job)


@command(jobs, "logs")
def job_logs(
    service: Service,
    terminal: Terminal,
    job: Id,
    tail: Annotated[int | None, typer.Option(min=1, max=10_000, help="Number of last lines to print.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the job has ended.")] = False,
) -> None:
    """Print the output of a job's trainers."""
    if terminal.as_json:
        for piece in _pieces(service, job, follow):
            terminal.one(piece)
        return
    is_empty = True
    for text in (piece["text"] for piece in _pieces(service, job, follow)) if follow else [service.logs(job, tail)]:
        typer.echo(text, nl=False)
        is_empty = is_empty and not text
    if is_empty and (why := why_silent(service.job(job))) is not None:
        terminal.note(why)


@command(jobs, "events")
def job_events(
    service: Service,
    terminal: Terminal,
    job: Id,
    after: Annotated[int, typer.Option(min=0, help="Only events after this sequence number.")] = 0,
) -> None:
    """List the events of a job, oldest first."""
    shown: list[dict[str, Any]] = []
    while page := service.events(job, shown[-1]["seq"] if shown else after):
        shown += page
    terminal.many("events", shown if terminal.as_json else (row | {"detail": detail_of(row)} for row in shown))


@command(jobs, "validate")
def validate_job(
    service: Service,
    terminal: Terminal,
    spec: Annotated[Path, typer.Argument(help="Job spec, YAML or JSON; `-`: from stdin.")],
) -> None:
    """Validate a job without submitting it: print its resolved spec, findings and estimate.

    Files that the spec names are not sent: then only the rest of the spec is validated.
    """
    read = inputs.read(spec, "jobs validate")
    terminal.document(inputs.validated(read, inputs.folder_of(spec), service, terminal.note))


@command(jobs, "metrics")
def job_metrics(
    service: Service,
    terminal: Terminal,
    job: Id,
    part: Annotated[
        Literal["student", "alone", "both"],
        typer.Option(help="Whose epochs; `alone`: of the student without its teacher."),
    ] = "student",
) -> None:
    """Print the metrics of the student's finished epochs, one JSON object per line."""
    Terminal(as_json=True).many("metrics", service.metrics(job, None if part == "both" else part))


@command(jobs, "artifacts")
def job_artifacts(service: Service, terminal: Terminal, job: Id) -> None:
    """List a job's artifacts."""
    rows = map(plain, service.artifacts(job))
    terminal.many("artifacts", rows if terminal.as_json else (row | {"epoch": cell_of(row)} for row in rows))


@command(jobs, "weights")
def job_weights(
    service: Service,
    terminal: Terminal,
    job: Id,
    output: Output = None,
    name: Annotated[
        str | None, typer.Option("--artifact", help="Artifact to download instead, such as report.html.")
    ] = None,
) -> None:
    """Download a job's newest weights, student.pt (or .safetensors, by the output's name), and print their path."""
    if name is not None:
        target = target_of(output, Path(name).name)
        with terminal.bar(target.name) as progress:
            terminal.file(service.download_artifact(job, name, target, progress))
        return
    target = target_of(output, "student.pt", (".pt", ".safetensors"))
    form: Any = target.suffix.removeprefix(".")
    with terminal.bar(target.name) as progress:
        terminal.file(service.download_weights(job, target, form, progress))
    if not terminal.as_json and (note := unfinished(service, job)) is not None:
        terminal.note(note)


def _followed(
    service: Service, terminal: Terminal, job_id: str, timeout: float | None, say: Callable[[str], str] = str
) -> None:
    """Follow a job to its end, print its figures, and exit with its status; `say` rewords advice."""
    job = Follower(terminal, "jobs").follow(job_id, lambda news: service.wait(job_id, timeout, news))
    if not terminal.as_json and job.result and "metrics" in job.result:
        show_result(job.result, terminal.out, say=say)
        terminal.note(f"weights: `rdrkd jobs weights {job.id}`; all files: `rdrkd jobs artifacts {job.id}`")
    leave(job)


def _pieces(service: Service, job: str, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield a job's output so far, or with `follow` until it has ended."""
    after = "0-0"
    while True:
        ended = service.job(job).ended  # read before the lines: the last ones are written before the job ends
        page = service.log_page(job, after)
        yield from page["data"]
        after = page["next"]
        if not page["has_more"] and (ended or not follow):
            return
        if not page["has_more"]:
            time.sleep(_FOLLOW_SECONDS)
