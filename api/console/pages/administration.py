"""Administration: keys, storage by owner, webhooks with their deliveries, the audit log."""

import asyncio
from dataclasses import replace

from starlette.responses import Response

from api.console import choices
from api.console.visit import Visit
from rdrkd.client import Refused

LIMIT = 50


async def administration(visit: Visit) -> Response:
    """Show keys and storage."""
    return await _administration(visit)


async def create_key(visit: Visit) -> Response:
    """Create a key, and show it once; a refusal is shown above the form, which keeps its fields."""
    body = {name: str(visit.form.get(name, "")).strip() for name in ("name", "owner", "scope")}
    expires = str(visit.form.get("expires", "")).strip()
    try:
        made = await visit.client.send(
            "POST", "/v1/api-keys", body | ({"expires_at": f"{expires}T00:00:00Z"} if expires else {})
        )
    except Refused as refused:
        return await _administration(visit, refused)
    if visit.caller["key"] == "loopback":  # the first key closes the service to readers without one
        visit.session = replace(visit.session, key=made["key"])
    return visit.go_with("/administration", made["key"])


async def _administration(visit: Visit, refused: Refused | None = None) -> Response:
    keys, usage = await asyncio.gather(visit.client.get("/v1/api-keys", limit=LIMIT), visit.client.usage())
    return visit.render(
        "administration.html", 200 if refused is None else refused.status, keys=keys["data"], usage=usage,
        refused=refused, fields=choices.kept(visit, refused) if refused else {}, secret=visit.secret("rdr_"),
    )  # fmt: skip


async def revoke_key(visit: Visit) -> Response:
    """Revoke a key."""
    await visit.client.revoke_key(visit.id())
    return visit.go("/administration")


async def audit(visit: Visit) -> Response:
    """Show the audit log."""
    chosen = {name: visit.query(name) for name in ("key", "owner", "action", "object")}
    page = await visit.client.get("/v1/audit", limit=LIMIT, after=visit.query("after"), **chosen)
    return visit.render("audit.html", entries=page["data"], following=page["next"], chosen=chosen)


async def webhooks(visit: Visit) -> Response:
    """List the webhooks."""
    return await _webhooks(visit)


async def create_webhook(visit: Visit) -> Response:
    """Create a webhook for every event, and show its secret once; a refusal is shown above the form."""
    body = {"url": str(visit.form.get("url", "")).strip(), "name": str(visit.form.get("name", "")).strip() or None}
    try:
        made = await visit.client.send("POST", "/v1/webhooks", body)
    except Refused as refused:
        return await _webhooks(visit, refused)
    return visit.go_with("/webhooks", made["secret"])


async def _webhooks(visit: Visit, refused: Refused | None = None) -> Response:
    page = await visit.client.get("/v1/webhooks", limit=LIMIT)
    return visit.render(
        "webhooks.html", 200 if refused is None else refused.status, webhooks=page["data"],
        refused=refused, fields=choices.kept(visit, refused) if refused else {}, secret=visit.secret("whsec_"),
    )  # fmt: skip


async def webhook(visit: Visit) -> Response:
    """Show a webhook and its deliveries."""
    path = f"/v1/webhooks/{visit.id()}"
    shown, deliveries = await asyncio.gather(
        visit.client.get(path), visit.client.get(f"{path}/deliveries", limit=LIMIT, after=visit.query("after"))
    )
    return visit.render("webhook.html", webhook=shown, deliveries=deliveries["data"], following=deliveries["next"])


async def act_on_webhook(visit: Visit) -> Response:
    """Perform the action of a button."""
    action, path = visit.request.path_params["action"], f"/v1/webhooks/{visit.id()}"
    if action == "delete":
        await visit.client.send("DELETE", path)
        return visit.go("/webhooks")
    if action == "test":
        await visit.client.send("POST", f"{path}/test")
    else:
        await visit.client.send("PATCH", path, {"enabled": True})
    return visit.go(f"/webhooks/{visit.id()}")
