"""Administration: keys, storage by owner, webhooks with their deliveries, the audit log."""

import asyncio

from starlette.responses import Response

from api.console.visit import Visit

LIMIT = 50


async def administration(visit: Visit) -> Response:
    """Show keys and storage."""
    keys, usage = await asyncio.gather(visit.client.get("/v1/api-keys", limit=LIMIT), visit.client.usage())
    return visit.render("administration.html", keys=keys["data"], usage=usage, made=None)


async def create_key(visit: Visit) -> Response:
    """Create a key, and show it once."""
    name, owner, scope = (str(visit.form.get(field, "")).strip() for field in ("name", "owner", "scope"))
    made = await visit.client.create_key(name, owner, scope)
    keys, usage = await asyncio.gather(visit.client.get("/v1/api-keys", limit=LIMIT), visit.client.usage())
    return visit.render("administration.html", keys=keys["data"], usage=usage, made=made)


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
    page = await visit.client.get("/v1/webhooks", limit=LIMIT)
    return visit.render("webhooks.html", webhooks=page["data"], secret=None)


async def create_webhook(visit: Visit) -> Response:
    """Create a webhook for every event, and show its secret once."""
    body = {"url": str(visit.form.get("url", "")).strip(), "name": str(visit.form.get("name", "")).strip() or None}
    made = await visit.client.send("POST", "/v1/webhooks", body)
    page = await visit.client.get("/v1/webhooks", limit=LIMIT)
    return visit.render("webhooks.html", webhooks=page["data"], secret=made["secret"])


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
