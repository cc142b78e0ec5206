"""Models: uploaded weights and registered students, with their lineage and aliases."""

from urllib.parse import quote

from starlette.responses import Response

from api.console.visit import Visit

LIMIT = 50


async def models(visit: Visit) -> Response:
    """List models, newest first."""
    page = await visit.client.get("/v1/models", limit=LIMIT, after=visit.query("after"), name=visit.query("name"))
    return visit.render("models.html", models=page["data"], following=page["next"], name=visit.query("name"))


async def model(visit: Visit) -> Response:
    """Show a model: lineage, figures, files, aliases, the exports made from it."""
    shown = await visit.client.get(f"/v1/models/{visit.id()}")
    exports = await visit.client.get("/v1/jobs", kind="export", limit=100)
    ours = [job for job in exports["data"] if (job["spec"].get("model") or {}).get("model") == shown["id"]]
    datasets = await visit.client.get("/v1/datasets", limit=100) if visit.may_write else {"data": []}
    return visit.render(
        "model.html",
        model=shown,
        report=shown["report"] or {},
        lineage=shown["lineage"],
        exports=ours,
        datasets=[one for one in datasets["data"] if one["status"] != "invalid"],
    )


async def export(visit: Visit) -> Response:
    """Submit an export of a model, or of the student of a job."""
    kind = "job" if visit.request.url.path.startswith("/jobs/") else "model"
    dataset, form, imgsz = (str(visit.form.get(field, "")) for field in ("dataset", "format", "imgsz"))
    settings = {"format": form, "imgsz": int(imgsz) if imgsz.isascii() and imgsz.isdecimal() else imgsz}
    spec = {"kind": "export", "model": {kind: visit.id()}, "dataset": dataset, "export": settings}
    return visit.go(f"/jobs/{(await visit.client.submit(spec)).id}")


async def register(visit: Visit) -> Response:
    """Register a job's student under a name."""
    name = str(visit.form.get("name", "")).strip() or None
    made = await visit.client.register(visit.id(), name)
    return visit.go(f"/models/{made.id}")


async def move_alias(visit: Visit) -> Response:
    """Move an alias to this version."""
    await visit.client.move_alias(visit.id(), quote(str(visit.form.get("alias", "")).strip(), safe=""))
    return visit.go(f"/models/{visit.id()}")


async def delete_alias(visit: Visit) -> Response:
    """Remove an alias from this version."""
    await visit.client.delete_alias(visit.id(), quote(str(visit.form.get("alias", "")), safe=""))
    return visit.go(f"/models/{visit.id()}")


async def delete(visit: Visit) -> Response:
    """Delete a model that nothing refers to."""
    await visit.client.delete_model(visit.id())
    return visit.go("/models")
