"""Shared parts of the commands on a service: connection, options and exit status.

Exit status: 0 success, 2 invalid command, 3 the service refused the request or the awaited job failed, 4 the service
does not answer, 5 timeout of the wait.
"""

import inspect
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import typer
from typer.models import ArgumentInfo

from rdrkd.cli import local_token
from rdrkd.cli.terminal import Terminal
from rdrkd.events import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from rdrkd.client import Client

    Service: TypeAlias = Client
else:
    Service = Any  # the client is imported only when a command runs: `--help` and trainers do not need it

Command = Callable[..., None]
EXIT_UNREACHABLE, EXIT_NOT_ENDED = 4, 5
CONNECT_SECONDS = 2.0
URL = "http://127.0.0.1:8000"
_PORTS = {"http": 80, "https": 443}
# First parts of the paths that people copy from the documentation or a browser.
_PAGES = (
    "v1|docs|openapi.json|healthz|readyz|metrics|sign-in|console|jobs|datasets|models|studies|compare|administration"
    "|audit|webhooks"
)


def base_url(text: str) -> str:
    """Return a service's URL without the page of it that was copied; a service on this machine needs no scheme.

    Raises:
        BadParameter: it is not a URL, or lacks its scheme.

    >>> base_url("http://127.0.0.1:8000/v1/"), base_url("localhost:8000"), base_url("https://a.org/rdrkd/jobs/job_1")
    ('http://127.0.0.1:8000', 'http://localhost:8000', 'https://a.org/rdrkd')
    """
    scheme, separator, rest = text.rpartition("://")
    parts = urlsplit(f"{scheme or 'http'}://{rest}")
    try:
        is_address = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # of the port
        is_address = False
    is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not is_address or parts.scheme not in _PORTS or not (separator or is_here):
        meant = f"; did you mean `https://{rest}`?" if is_address else ""
        raise typer.BadParameter(f"expected a URL such as {URL}, got {text!r}{meant}")
    path = re.sub(rf"/({_PAGES})(/.*)?$", "", parts.path).rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


Id = Annotated[str, typer.Argument(help="Id, a unique prefix of it, or name.", show_default=False)]
Url = Annotated[str, typer.Option("--url", envvar="RDRKD_URL", help="URL of the service.", parser=base_url)]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File that contains the token; or set RDRKD_TOKEN."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, one object per line.")]
Limit = Annotated[int, typer.Option(min=1, help="Number of entries, newest first.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Output file, which is overwritten, or a folder without such a file; default: the current folder.",
        show_default=False,
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Longest time to wait, seconds.", show_default=False)]


@contextmanager
def connected(
    url: str, token_file: Path | None, as_json: bool, ids: Sequence[str] = ()
) -> Iterator[tuple[Service, Terminal]]:
    """Connect, and turn errors of the client into their exit statuses.

    `ids` are the command's arguments: if one is not found, the refusal names the command for what it is.
    """
    from rdrkd.cli.mistaken_ids import named_file, other_kind
    from rdrkd.client import Client, NotEnded, Refused, Unreachable, UploadBroken

    terminal = Terminal(as_json)
    if not _listens(url):
        terminal.note(
            f"error: nothing answers at {url}; start one with `rdrkd up`, or name another with --url{named_file(ids)}"
        )
        raise typer.Exit(EXIT_UNREACHABLE)
    token = _token(token_file) if token_file else os.environ.get("RDRKD_TOKEN") or local_token.token_of(url)
    try:
        with Client(url, token) as client:
            try:
                yield client, terminal
            except Refused as refused:
                if refused.code == "not_found":
                    refused.args = (f"{refused}{named_file(ids) or other_kind(ids, str(refused), client)}",)
                raise
    except (Unreachable, UploadBroken) as error:
        terminal.note(f"error: {_speaks_http(url, error) or error} (service: {url})")
        raise typer.Exit(EXIT_UNREACHABLE) from error
    except NotEnded as error:
        terminal.note(f"error: {error}")
        raise typer.Exit(EXIT_NOT_ENDED) from error


def _token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        came = "a binary file" if isinstance(error, ValueError) else str(error.strerror)
        message = f"expected a file that contains the token, got {file}: {came}"
        raise typer.BadParameter(message, param_hint="--token-file") from error


def _speaks_http(url: str, error: Exception) -> str | None:
    """Return the advice for a URL with https whose service speaks http; None for another error."""
    if url.startswith("https://") and "WRONG_VERSION_NUMBER" in str(error):
        return f"the service speaks http: use {url.replace('https', 'http', 1)}"
    return None


def _listens(url: str) -> bool:
    """Return whether something accepts connections at a URL; behind a proxy, only the request itself shows that."""
    from rdrkd.client.wire import is_local

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    if not is_local(url) and parts.scheme in getproxies() and not proxy_bypass(host):
        return True
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS):
            return True
    except OSError:
        return False


def command(app: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Register a command on a service: a function that takes the client, the terminal and the command's arguments.

    The connection options and `--json` are added to the function's own options.
    """
    added: list[tuple[str, Any, Any]] = [("url", Url, URL), ("token_file", TokenFile, None), ("as_json", Json, False)]
    options = [
        Parameter(option, Parameter.KEYWORD_ONLY, default=value, annotation=kind) for option, kind, value in added
    ]

    def register(function: Command) -> Command:
        _, _, *own = inspect.signature(function).parameters.values()
        taken = [*(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own), *options]

        def run(url: str, token_file: Path | None, as_json: bool, **arguments: Any) -> None:
            with connected(url, token_file, as_json, _texts(own, arguments)) as (service, terminal):
                function(service, terminal, **arguments)

        app.command(name)(with_parameters(run, function, taken))
        return function

    return register


def _texts(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> list[str]:
    """Return the values of a command's arguments that are texts, such as ids."""
    names = [each.name for each in parameters if isinstance(get_args(each.annotation)[-1], ArgumentInfo)]
    values = [text for name in names for text in (given[name] if isinstance(given[name], list) else [given[name]])]
    return [text for text in values if isinstance(text, str)]


def with_parameters(run: Command, function: Command, parameters: list[Parameter]) -> Command:
    """Present `run` to the command line as `function` with other parameters."""
    run.__doc__, run.__name__ = function.__doc__, function.__name__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def leave(seen: Any) -> None:
    """Exit with the status of the awaited job or study."""
    raise typer.Exit(EXIT_FAILED if seen.status in ("failed", "cancelled") else EXIT_DONE)
