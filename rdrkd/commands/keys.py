"""`rdrkd keys`."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import typer

from rdrkd.commands.connection import URL, Id, Json, Limit, TokenFile, Url, connected, new_app

keys = new_app("API keys of a service; they need a key of the scope admin, or the token.")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.", show_default=False)],
    owner: Annotated[str, typer.Option(help="Owner of what the key creates and sees.", show_default=False)],
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "submit",
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires.", show_default="for ever")] = None,
    url: Url = URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Create an API key, and print it once: the service stores only a hash."""
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with connected(url, token_file, as_json) as (service, terminal):
        made = service.create_key(name, owner, scope, expires)
        if as_json:
            terminal.one(made)
        else:
            terminal.note(f"{made['id']}, of the scope {made['scope']}; the key is not shown again:")
            typer.echo(made["key"])


@keys.command("list")
def list_keys(limit: Limit = 20, url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List keys, newest first, without their secrets."""
    with connected(url, token_file, as_json) as (service, terminal):
        terminal.many("keys", islice(service.keys(), limit))


@keys.command("revoke")
def revoke_key(key: Id, url: Url = URL, token_file: TokenFile = None) -> None:
    """Revoke an API key; it stops working within seconds."""
    with connected(url, token_file, as_json=False) as (service, terminal):
        service.revoke_key(key)
        terminal.note(f"{key}: revoked")
