"""Endpoints of webhooks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.errors import (
    CrossSite,
    Invalid,
    NotFound,
    QuotaExceeded,
)
from api.http.dependencies import OF_JSON, SettingsDep, Work, json_only, refusals
from api.http.routing import Route
from api.pagination import After, Limit, Page
from api.webhooks import service
from api.webhooks.schemas import DeliveryView, NewSecretView, WebhookChange, WebhookRequest, WebhookView
from api.webhooks.vault import Vault

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=Route)

_BODY = (*OF_JSON, Invalid)


async def _vault(request: Request) -> Vault:
    vault: Vault = request.app.state.vault
    return vault


VaultDep = Annotated[Vault, Depends(_vault)]


# Dependencies before `Work`: while name servers are waited for, neither a transaction nor a thread is held.
async def _callable(asked: WebhookRequest, request: Request, settings: SettingsDep) -> WebhookRequest:
    await service.check(asked.url, settings, request.app.state.resolver)
    return asked


async def _changeable(asked: WebhookChange, request: Request, settings: SettingsDep) -> WebhookChange:
    if asked.url is not None:
        await service.check(asked.url, settings, request.app.state.resolver)
    return asked


@router.post(
    "",
    status_code=201,
    operation_id="create_webhook",
    dependencies=[Depends(json_only)],
    responses=refusals(*_BODY, QuotaExceeded),
)
def create_webhook(
    asked: Annotated[WebhookRequest, Depends(_callable)], work: Work, vault: VaultDep, response: Response
) -> NewSecretView:
    """Create a webhook for the events of the caller's owner. The response contains its signing secret, once."""
    row, secret = service.create(work.session, asked, vault)
    response.headers["Location"] = f"/v1/webhooks/{row.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewSecretView.of(row, vault, secret=secret)


@router.get("", operation_id="list_webhooks", responses=refusals(Invalid))
def list_webhooks(
    work: Work, vault: VaultDep, limit: Annotated[Limit, Query()] = 20, after: Annotated[After, Query()] = None
) -> Page[WebhookView]:
    """List webhooks, newest first."""
    rows, following = service.newest(work.session, limit, after)
    return Page(data=[WebhookView.of(row, vault) for row in rows], has_more=following is not None, next=following)


@router.get("/{webhook_id}", operation_id="get_webhook", responses=refusals(NotFound))
def get_webhook(webhook_id: str, work: Work, vault: VaultDep) -> WebhookView:
    """Return a webhook: whether it is enabled, and why it was disabled."""
    return WebhookView.of(service.get(work.session, webhook_id), vault)


@router.patch(
    "/{webhook_id}",
    operation_id="change_webhook",
    dependencies=[Depends(json_only)],
    responses=refusals(NotFound, *_BODY),
)
def change_webhook(
    webhook_id: str, asked: Annotated[WebhookChange, Depends(_changeable)], work: Work, vault: VaultDep
) -> WebhookView:
    """Change, disable or re-enable a webhook."""
    return WebhookView.of(service.change(work.session, webhook_id, asked), vault)


@router.delete("/{webhook_id}", status_code=204, operation_id="delete_webhook", responses=refusals(CrossSite, NotFound))
def delete_webhook(webhook_id: str, work: Work) -> None:
    """Delete a webhook and its delivery log; pending messages are not sent."""
    service.remove(work.session, webhook_id)


@router.post("/{webhook_id}/rotate", operation_id="rotate_webhook_secret", responses=refusals(CrossSite, NotFound))
def rotate_webhook_secret(webhook_id: str, work: Work, vault: VaultDep, response: Response) -> NewSecretView:
    """Replace a webhook's secret. The response contains the new one, once; the old one also signs for another day."""
    row, secret = service.rotate(work.session, webhook_id, vault)
    response.headers["Cache-Control"] = "no-store"
    return NewSecretView.of(row, vault, secret=secret)


@router.post(
    "/{webhook_id}/test", status_code=202, operation_id="test_webhook", responses=refusals(CrossSite, NotFound)
)
def test_webhook(webhook_id: str, work: Work) -> DeliveryView:
    """Send a `webhook.test` message, once; the delivery log shows the outcome."""
    return DeliveryView.of(service.test(work.session, webhook_id), [])


@router.get("/{webhook_id}/deliveries", operation_id="list_webhook_deliveries", responses=refusals(NotFound, Invalid))
def list_webhook_deliveries(
    webhook_id: str, work: Work, limit: Annotated[Limit, Query()] = 20, after: Annotated[After, Query()] = None
) -> Page[DeliveryView]:
    """List a webhook's deliveries, newest first, each with all its attempts."""
    rows, following = service.log(work.session, webhook_id, limit, after)
    return Page(data=[DeliveryView.of(*row) for row in rows], has_more=following is not None, next=following)
