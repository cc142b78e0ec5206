"""`rdrkd datasets`."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from rdrkd.cli.connection import Id, Json, Output, Service, Wait, command
from rdrkd.cli.distill_inputs import DATASET
from rdrkd.cli.groups import new_app
from rdrkd.cli.output_files import target_of
from rdrkd.cli.packing import packed
from rdrkd.cli.reading import reading_of
from rdrkd.cli.terminal import Terminal
from rdrkd.cli.uploads import Divide, Keep, LeaveOut, Resume, end_of_upload, expect, lists
from rdrkd.events import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from rdrkd.data.diagnosis import Diagnosis, Finding

datasets = new_app("Datasets of a service.")
lists(datasets, "datasets")


@command(datasets, "upload")
def upload_dataset(
    service: Service,
    terminal: Terminal,
    file: Annotated[
        Path, typer.Argument(help="Dataset: folder, data YAML, zip or tar.", exists=True, show_default=False)
    ],
    name: Annotated[str | None, typer.Option(help="Dataset name; an existing name gets a new version.")] = None,
    lenient: LeaveOut = False,
    keep: Keep = False,
    divide: Divide = None,
    resume: Resume = None,
    wait: Wait = False,
) -> None:
    """Upload a dataset, and print its id. Resumes after a dropped connection."""
    expect(DATASET, file)
    with TemporaryDirectory(prefix="rdrkd-upload-") as scratch, terminal.bar(file.name) as progress:
        row = service.upload_dataset(packed(file, Path(scratch)), name, progress, resume, lenient, keep, divide)
    if row.same_content_as is not None:
        terminal.note(f"{row.id}: the same content as {row.same_content_as}, an earlier version of this name")
    end_of_upload(row, terminal, service.wait_dataset if wait else None)


@datasets.command("check")
def check_dataset(
    path: Annotated[Path, typer.Argument(help="A folder, a data YAML, a zip or tar.", exists=True, show_default=False)],
    imgsz: Annotated[int, typer.Option(min=32, max=4096, help="Side of the network's input, px.")] = 640,
    lenient: LeaveOut = False,
    keep: Keep = False,
    divide: Divide = None,
    as_json: Json = False,
) -> None:
    """Check a dataset for faults that would harm training, without a service; exit status 3 if it would be refused."""
    if not as_json:
        typer.echo(f"checking {path} ...", err=True)
    from rdrkd.data.diagnosis import diagnose
    from rdrkd.data.formats import is_to_be_packed
    from rdrkd.data.reading import AS_IT_IS

    with TemporaryDirectory(prefix="rdrkd-check-") as scratch:
        reading = reading_of(lenient, keep, divide)
        as_uploaded = reading != AS_IT_IS or is_to_be_packed(path)  # a folder itself is read as it is
        file = packed(path, Path(scratch)) if as_uploaded else path
        diagnosis = _called(diagnose(file, imgsz, reading), file.name, path.name)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in diagnosis.findings], ensure_ascii=False))
    else:
        _print(diagnosis)
    raise typer.Exit(EXIT_FAILED if diagnosis.is_refused else EXIT_DONE)


def _called(diagnosis: "Diagnosis", packed_as: str, name: str) -> "Diagnosis":
    """Return findings that name the user's folder instead of the archive into which it was packed."""
    findings = [
        replace(one, example=one.example.replace(packed_as, name), detail=one.detail.replace(packed_as, name))
        for one in diagnosis.findings
    ]
    return replace(diagnosis, findings=findings)


def _print(diagnosis: "Diagnosis") -> None:
    """Print the findings on a dataset and, unless it is refused, its content."""
    for finding in diagnosis.findings:
        typer.echo(f"{finding.severity.upper():8}{_placed(finding)}")
        if finding.advice:
            typer.echo(indent(finding.advice, 8 * " "))
    if not diagnosis.is_refused:
        typer.echo(f"ok: {diagnosis.content}")


def _placed(finding: "Finding") -> str:
    """Return a finding's detail with its place: an error has one, of other findings only an example is known."""
    if not finding.example or finding.detail.startswith(f"{finding.example} "):
        return finding.detail
    if finding.severity == "error":
        return f"{finding.example}: {finding.detail}"
    return f"{finding.detail} (such as {finding.example})"


@command(datasets, "import")
def import_dataset(
    service: Service,
    terminal: Terminal,
    source: Annotated[
        str,
        typer.Argument(help="NAME/PATH of an allowed folder, or s3://bucket/prefix.", show_default=False),
    ],
    name: Annotated[str | None, typer.Option(help="Dataset name; an existing name gets a new version.")] = None,
    lenient: LeaveOut = False,
    keep: Keep = False,
    divide: Divide = None,
    wait: Wait = False,
) -> None:
    """Import a dataset from a folder on the server or from a bucket, and print its id."""
    row = service.import_dataset(source, name, lenient, keep, divide)
    end_of_upload(row, terminal, service.wait_dataset if wait else None)


@command(datasets, "preview")
def dataset_preview(service: Service, terminal: Terminal, dataset: Id, output: Output = None) -> None:
    """Download preview.jpg, some of a dataset's images with their boxes, and print its path."""
    terminal.file(service.download_preview(dataset, target_of(output, "preview.jpg", (".jpg", ".jpeg"))))


@command(datasets, "delete")
def delete_dataset(service: Service, terminal: Terminal, dataset: Id) -> None:
    """Delete a dataset that no job and no study refers to."""
    service.delete_dataset(dataset)
    terminal.removed(dataset)
