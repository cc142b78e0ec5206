"""`rdrkd inspect`, `report` and `schema`: commands on local files."""

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rdrkd.cli.distill_inputs import there
from rdrkd.cli.reading import takes_reading
from rdrkd.cli.run_output import show_inspection
from rdrkd.errors import FolderError
from rdrkd.events import EXIT_DONE, EXIT_FAILED
from rdrkd.process import environment
from rdrkd.process.die_with_parent import die_with_parent
from rdrkd.process.process import events_stream
from rdrkd.suggestion import file_suggestion

if TYPE_CHECKING:
    from rdrkd.data.reading import Reading


@takes_reading
def inspect(
    file: Annotated[
        Path,
        typer.Argument(
            help="A dataset (folder, data YAML, zip, tar) or weights (.pt, .safetensors).", show_default=False
        ),
    ],
    cache: Annotated[Path | None, typer.Option(help="Folder to unpack an archive into.", show_default=False)] = None,
    *,
    reading: "Reading",
    preview: Annotated[
        Path | None, typer.Option(help="JPEG to write: images of a valid dataset with their boxes.", show_default=False)
    ] = None,
    convert: Annotated[
        Path | None,
        typer.Option(help="Folder to write the weights to in the other format.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the file in the report.", hidden=True)] = None,
    album: Annotated[Path | None, typer.Option(help="Folder for pictures to leaf through.", hidden=True)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check a dataset or a weights file without running any code in it; exit status 3 if it is unusable."""
    die_with_parent()
    environment.apply()
    there("file", file, "a dataset or weights")
    stream = events_stream() if as_json else None
    if not as_json:
        typer.echo(f"checking {file} ...", err=True)
    from rdrkd.run.inspection import inspect as look
    from rdrkd.run.inspection import limit_resources

    if limits := os.environ.get(environment.LIMITS):  # set by a worker: the file is untrusted
        limit_resources(**json.loads(limits))
    report = look(file, cache, reading, preview, convert, name, album)
    if stream:
        stream.write(json.dumps(report) + "\n")
        stream.flush()
    else:
        show_inspection(report, Console())
    raise typer.Exit(EXIT_DONE if report["ok"] else EXIT_FAILED)


def report(
    run_dir: Annotated[Path, typer.Argument(help="Run folder, finished or not.", show_default=False)],
) -> None:
    """Write a run folder's report.html and report.png: the effect of each term, on one page."""
    environment.apply()
    from rdrkd.diagnostics.run_report import write_report
    from rdrkd.run_folder.names import RESOLVED, STUDY

    if (run_dir / STUDY).is_file() and not (run_dir / RESOLVED).is_file():
        command = shlex.join(["rdrkd", "study", "report", str(run_dir / STUDY), "--out", str(run_dir)])
        raise FolderError(f"expected a run folder, got a study's at {run_dir}: `{command}` writes its report")

    if not (run_dir / RESOLVED).is_file():
        raise FolderError(f"expected a run folder, got {_instead(run_dir, RESOLVED)}")
    for name in write_report(run_dir):
        typer.echo(run_dir / name)


def _instead(path: Path, mark: str) -> str:
    """Return what is at a path that is no run folder, with the run folder above or below it; `mark` is in each."""
    if not path.exists():
        return f"nothing at {path}{file_suggestion(path)}"
    if path.is_dir():
        inside = sorted((file.parent for file in path.glob(f"*/{mark}")), key=lambda run: run.stat().st_mtime)
        meant = f"; did you mean `{inside[-1]}`, its newest one?" if inside else ""
        return f"the folder {path} without a {mark}{meant}"
    above = next((folder for folder in path.parents if (folder / mark).is_file()), None)
    return f"the file {path}" + ("" if above is None else f"; did you mean `{above}`?")


def schema() -> None:
    """Print the JSON Schema of job specs."""
    from rdrkd.spec import JOB_SPEC

    typer.echo(json.dumps(JOB_SPEC.json_schema(), indent=2))
