"""`rdrkd models`."""

from typing import Annotated, Any

import typer

from rdrkd.cli.connection import Id, Output, Service, Wait, command
from rdrkd.cli.distill_inputs import WEIGHTS
from rdrkd.cli.groups import new_app
from rdrkd.cli.output_files import target_of
from rdrkd.cli.terminal import Terminal
from rdrkd.cli.uploads import Resume, Upload, end_of_upload, expect, lists

models = new_app("Models of a service: teachers and start weights.")
lists(models, "models")


@command(models, "upload")
def upload_model(
    service: Service,
    terminal: Terminal,
    file: Upload,
    name: Annotated[str | None, typer.Option(help="Display name.")] = None,
    resume: Resume = None,
    wait: Wait = False,
) -> None:
    """Upload a model, and print its id. Resumes after a dropped connection."""
    expect(WEIGHTS, file)
    with terminal.bar(file.name) as progress:
        row = service.upload_model(file, name, progress, resume)
    end_of_upload(row, terminal, service.wait_model if wait else None)


@command(models, "register")
def register_model(
    service: Service,
    terminal: Terminal,
    job: Annotated[str, typer.Argument(help="Id of a succeeded job.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(help="Model name, whose versions are numbered; default: the job's name.")
    ] = None,
    alias: Annotated[list[str] | None, typer.Option(help="Alias to move to this version; may be repeated.")] = None,
    wait: Wait = False,
) -> None:
    """Register a job's student as a model, and print its id."""
    row = service.register(job, name, alias or ())
    end_of_upload(row, terminal, service.wait_model if wait else None)


@command(models, "alias")
def alias_model(
    service: Service,
    terminal: Terminal,
    model: Id,
    alias: Annotated[str, typer.Argument(help="Alias, such as `production`.", show_default=False)],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
) -> None:
    """Move an alias of a model's name to this version; jobs refer to it as `NAME@ALIAS`."""
    if remove:
        service.delete_alias(model, alias)
        terminal.removed(f"{model}, {alias}")
    else:
        terminal.one(service.move_alias(model, alias))


@command(models, "download")
def download_model(
    service: Service,
    terminal: Terminal,
    model: Id,
    output: Output = None,
) -> None:
    """Download a model, model.pt (or .safetensors, by the output's name), and print its path."""
    target = target_of(output, "model.pt", (".pt", ".safetensors"))
    form: Any = target.suffix.removeprefix(".")
    with terminal.bar(target.name) as progress:
        terminal.file(service.download_model(model, target, form, progress))


@command(models, "delete")
def delete_model(service: Service, terminal: Terminal, model: Id) -> None:
    """Delete a model that no job, no study and no alias refers to."""
    service.delete_model(model)
    terminal.removed(model)
