"""`rdrkd datasets`."""

from pathlib import Path
from typing import Annotated

import typer

from rdrkd.commands.connection import URL, Id, Json, Output, TokenFile, Url, Wait, connected, new_app
from rdrkd.commands.uploads import LeaveOut, Resume, Upload, end_of_upload, lists

datasets = new_app("Datasets of a service.")
lists(datasets, "datasets")


@datasets.command("upload")
def upload_dataset(
    file: Upload,
    name: Annotated[str | None, typer.Option(help="Dataset name; an existing name gets a new version.")] = None,
    lenient: LeaveOut = False,
    resume: Resume = None,
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Upload a dataset, a zip or tar, and print it. Resumes after a dropped connection."""
    with connected(url, token_file, as_json) as (service, terminal):
        with terminal.bar(file.name) as told:
            row = service.upload_dataset(file, name, told, resume, lenient)
        if row.same_content_as is not None:
            terminal.note(f"{row.id}: the same content as {row.same_content_as}, an earlier version of this name")
        end_of_upload(service.wait_dataset(row.id) if wait else row, terminal)


@datasets.command("import")
def import_dataset(
    source: Annotated[
        str,
        typer.Argument(help="NAME/PATH of an allowed folder, or s3://bucket/prefix.", show_default=False),
    ],
    name: Annotated[str | None, typer.Option(help="Dataset name; an existing name gets a new version.")] = None,
    lenient: LeaveOut = False,
    wait: Wait = False,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Import a dataset from a folder on the server or from a bucket, and print it."""
    with connected(url, token_file, as_json) as (service, terminal):
        row = service.import_dataset(source, name, lenient)
        end_of_upload(service.wait_dataset(row.id) if wait else row, terminal)


@datasets.command("preview")
def dataset_preview(
    dataset: Id, output: Output = Path("preview.jpg"), url: Url = URL, token_file: TokenFile = None
) -> None:
    """Download a JPEG of some of a dataset's images with their boxes, and print its path."""
    with connected(url, token_file, as_json=False) as (service, _):
        typer.echo(service.download_preview(dataset, output))


@datasets.command("delete")
def delete_dataset(dataset: Id, url: Url = URL, token_file: TokenFile = None) -> None:
    """Delete a dataset that no job and no study refers to."""
    with connected(url, token_file, as_json=False) as (service, terminal):
        service.delete_dataset(dataset)
        terminal.note(f"{dataset}: deleted")
