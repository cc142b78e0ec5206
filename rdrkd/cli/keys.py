"""`rdrkd keys`."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import typer

from rdrkd.cli.connection import Id, Limit, Service, command
from rdrkd.cli.groups import new_app
from rdrkd.cli.terminal import Terminal

keys = new_app("API keys of a service. Requires a key with the scope admin, or the token.")


@command(keys, "create")
def create_key(
    service: Service,
    terminal: Terminal,
    name: Annotated[str, typer.Argument(help="What the key is for.", show_default=False)],
    owner: Annotated[str, typer.Option(help="Owner of the objects that the key creates and sees.", show_default=False)],
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "submit",
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires.", show_default="for ever")] = None,
) -> None:
    """Create an API key, and print it once: the service stores only a hash."""
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    made = service.create_key(name, owner, scope, expires)
    terminal.secret(made, "key", f"{made['id']}, of the scope {made['scope']}; the key is not shown again:")


@command(keys, "list")
def list_keys(service: Service, terminal: Terminal, limit: Limit = 20) -> None:
    """List keys, newest first, without their secrets."""
    terminal.many("keys", islice(service.keys(), limit))


@command(keys, "revoke")
def revoke_key(service: Service, terminal: Terminal, key: Id) -> None:
    """Revoke an API key; it stops working within seconds."""
    service.revoke_key(key)
    terminal.removed(key, "revoked")
