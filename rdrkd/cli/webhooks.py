"""`rdrkd webhooks`."""

from itertools import islice
from typing import Annotated

import typer

from rdrkd.cli.connection import Id, Limit, Service, command
from rdrkd.cli.groups import new_app
from rdrkd.cli.terminal import Terminal

webhooks = new_app("Webhooks of a service: deliveries when jobs and studies end.")


@command(webhooks, "create")
def create_webhook(
    service: Service,
    terminal: Terminal,
    receiver: Annotated[str, typer.Argument(help="URL to deliver to, by POST.", show_default=False)],
    event: Annotated[list[str] | None, typer.Option(help="Event to send; may be repeated. Default: all.")] = None,
    name: Annotated[str | None, typer.Option(help="Display name.")] = None,
) -> None:
    """Create a webhook, and print its signing secret once."""
    made = service.create_webhook(receiver, event or None, name)
    terminal.secret(made, "secret", f"{made['id']}: the secret is not shown again:")


@command(webhooks, "list")
def list_webhooks(service: Service, terminal: Terminal, limit: Limit = 20) -> None:
    """List webhooks, newest first."""
    terminal.many("webhooks", islice(service.webhooks(), limit))


@command(webhooks, "show")
def show_webhook(service: Service, terminal: Terminal, webhook: Id) -> None:
    """Print a webhook; `--json` prints everything."""
    terminal.one(service.webhook(webhook))


@command(webhooks, "enable")
def enable_webhook(service: Service, terminal: Terminal, webhook: Id) -> None:
    """Enable a webhook that was disabled, for events from now on."""
    terminal.one(service.enable_webhook(webhook))


@command(webhooks, "test")
def test_webhook(service: Service, terminal: Terminal, webhook: Id) -> None:
    """Send a test event, and print its delivery."""
    terminal.one(service.test_webhook(webhook))


@command(webhooks, "deliveries")
def webhook_deliveries(service: Service, terminal: Terminal, webhook: Id, limit: Limit = 20) -> None:
    """List a webhook's deliveries, newest first."""
    terminal.many("deliveries", islice(service.webhook_deliveries(webhook), limit))


@command(webhooks, "rotate")
def rotate_webhook(service: Service, terminal: Terminal, webhook: Id) -> None:
    """Replace a webhook's signing secret, and print the new one once."""
    terminal.secret(service.rotate_webhook(webhook), "secret")


@command(webhooks, "delete")
def delete_webhook(service: Service, terminal: Terminal, webhook: Id) -> None:
    """Delete a webhook."""
    service.delete_webhook(webhook)
    terminal.removed(webhook)
