"""`rdrkd console`: the console of a remote service, served on this machine."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rdrkd.cli.connection import URL, Json, TokenFile, Url

Port = Annotated[int, typer.Option(help="TCP port to listen on, on this machine only.")]


def console(url: Url = URL, token_file: TokenFile = None, port: Port = 8001, as_json: Json = False) -> None:
    """Serve a remote service's console at http://127.0.0.1:PORT; a local service has its own at its URL."""
    token = {"RDRKD_TOKEN": token_file.read_text().strip()} if token_file else {}
    if as_json:
        typer.echo(json.dumps({"console": f"http://127.0.0.1:{port}", "service": url}))
        sys.stdout.flush()  # the next call replaces this process
    typer.echo(f"the console of {url} is at http://127.0.0.1:{port}; stop it with Ctrl-C", err=True)
    # By name: the library imports no web framework.
    command = [sys.executable, "-m", "api", "console", "--url", url, "--port", str(port)]
    os.execve(sys.executable, command, _environment() | token)  # noqa: S606 - no shell, our own arguments


def _environment() -> dict[str, str]:
    """Return an environment in which Python imports this same code, installed or not."""
    code = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(code)}
