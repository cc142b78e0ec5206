"""`rdrkd up` and `rdrkd down`."""

from pathlib import Path
from typing import Annotated

import typer


def up(
    data_dir: Annotated[
        Path, typer.Option(envvar="RDRKD_DATA_DIR", help="Folder for database, uploads, caches and runs.")
    ] = Path("var"),
    host: Annotated[
        str, typer.Option(envvar="RDRKD_HOST", help="Address to listen on; beyond loopback a token is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="RDRKD_PORT", min=0, max=65535, help="Port to listen on.")] = 8000,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background; return once the service is ready.")
    ] = False,
) -> None:
    """Start the embedded service: API, reaper and workers as child processes, SQLite, loopback."""
    from rdrkd.cli.up import up as start

    raise typer.Exit(start(data_dir, host, port, detach))


def down(
    data_dir: Annotated[Path, typer.Option(envvar="RDRKD_DATA_DIR", help="Data folder of the service to stop.")] = Path(
        "var"
    ),
) -> None:
    """Stop the embedded service that `rdrkd up --detach` started."""
    from rdrkd.cli.up import down as stop

    raise typer.Exit(stop(data_dir))
