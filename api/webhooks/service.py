"""The API's operations on webhooks. Functions take the request's session and never commit."""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.db import new_id
from api.errors import Invalid, QuotaExceeded
from api.jobs.events import webhook_messages
from api.ownership import owner_of
from api.pagination import get_or_404, page
from api.settings import Settings
from api.tables.webhooks import Delivery, DeliveryAttempt, Webhook
from api.webhooks import delivery_rows
from api.webhooks.addresses import AddressRefused, check_form, resolve
from api.webhooks.resolver import Resolver
from api.webhooks.schemas import WebhookChange, WebhookRequest
from api.webhooks.vault import Vault
from rdrkd.errors import Problem

MOST = 20  # webhooks per owner
MOST_SECRETS = 5  # per webhook
OLD_HOURS = 24  # for which a secret keeps signing after the next one was created


async def check(url: str, settings: Settings, resolver: Resolver) -> None:
    """Reject a URL that must not be called. Call it before a transaction begins: it waits for the name servers.

    Raises:
        Invalid: the URL is malformed, or its host does not resolve or has a private address.
    """
    try:
        host, _ = check_form(url, settings.webhooks_allow_http)
        await resolve(resolver, host, settings.webhooks_allow_private)
    except (AddressRefused, TimeoutError) as error:
        raise Invalid.at(Problem("/url", str(error))) from error


def create(session: Session, request: WebhookRequest, vault: Vault) -> tuple[Webhook, str]:
    """Create a webhook whose URL has been checked; return its row and its secret.

    Raises:
        QuotaExceeded: its owner has too many.
    """
    secret = _new_secret()
    row = Webhook(id=new_id("whk"), owner=owner_of(session), url=request.url, name=request.name)
    row.events, row.secrets = [str(event) for event in request.events], [{"secret": vault.seal(secret), "until": None}]
    session.add(row)
    session.flush()
    mine = Webhook.owner.is_not_distinct_from(row.owner)
    if (session.scalar(select(func.count()).select_from(Webhook).where(mine)) or 0) > MOST:
        raise QuotaExceeded(f"expected at most {MOST} webhooks, got one more")
    return row, secret


def newest(session: Session, limit: int, after: str | None) -> tuple[Sequence[Webhook], str | None]:
    """Read one page of webhooks, newest first, and the next cursor."""
    return page(session, select(Webhook), Webhook.id, limit, after)


def get(session: Session, webhook_id: str) -> Webhook:
    """Read one webhook; raises `NotFound`."""
    return get_or_404(session, Webhook, webhook_id)


def change(session: Session, webhook_id: str, asked: WebhookChange) -> Webhook:
    """Change a webhook, whose new URL has been checked; raises `NotFound`."""
    row = get(session, webhook_id)
    if asked.url is not None:
        row.url = asked.url
    if asked.events is not None:
        row.events = [str(event) for event in asked.events]
    if "name" in asked.model_fields_set:
        row.name = asked.name
    if asked.enabled:
        row.disabled_at = row.disabled_reason = row.failing_since = None
    session.flush()
    if asked.enabled is False:
        delivery_rows.disable(session, webhook_id, "disabled by its owner")
        session.refresh(row)
    return row


def remove(session: Session, webhook_id: str) -> None:
    """Delete a webhook with its messages and its log; raises `NotFound`."""
    session.delete(get(session, webhook_id))


def rotate(session: Session, webhook_id: str, vault: Vault) -> tuple[Webhook, str]:
    """Create a new secret; earlier ones also keep signing for a day. Raises `NotFound`."""
    row = get(session, webhook_id)
    secret, until = _new_secret(), (datetime.now(UTC) + timedelta(hours=OLD_HOURS)).isoformat()
    signing = delivery_rows.valid(row.secrets)
    old = [entry | {"until": entry["until"] or until} for entry in row.secrets if entry["secret"] in signing]
    row.secrets = [{"secret": vault.seal(secret), "until": None}, *old][:MOST_SECRETS]
    session.flush()
    return row, secret


def test(session: Session, webhook_id: str) -> Delivery:
    """Queue a test message, sent once, even if the webhook is disabled; raises `NotFound`."""
    return webhook_messages.test(session, get(session, webhook_id), datetime.now(UTC))


def log(
    session: Session, webhook_id: str, limit: int, after: str | None
) -> tuple[list[tuple[Delivery, list[DeliveryAttempt]]], str | None]:
    """Read one page of a webhook's messages, newest first, each with its attempts; raises `NotFound`."""
    get(session, webhook_id)
    mine = select(Delivery).where(Delivery.webhook_id == webhook_id)
    rows, following = page(session, mine, Delivery.id, limit, after)
    attempts: dict[str, list[DeliveryAttempt]] = {row.id: [] for row in rows}
    of_rows = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id.in_(attempts))
    for attempt in session.scalars(of_rows.order_by(DeliveryAttempt.number)):
        attempts[attempt.delivery_id].append(attempt)
    return [(row, attempts[row.id]) for row in rows], following


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
