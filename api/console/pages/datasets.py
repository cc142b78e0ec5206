"""Datasets: what there is, what the check found in each, and uploading more."""

import asyncio

from starlette.responses import Response

from api.console.visit import Visit
from rdrkd.client import Refused

LIMIT = 50


async def datasets(visit: Visit) -> Response:
    """List datasets, newest first."""
    page = await visit.client.get("/v1/datasets", limit=LIMIT, after=visit.query("after"), name=visit.query("name"))
    return visit.render("datasets.html", datasets=page["data"], following=page["next"], name=visit.query("name"))


async def dataset(visit: Visit) -> Response:
    """Show a dataset: statistics, what is wrong or was dropped, a preview, its versions."""
    shown = await visit.client.get(f"/v1/datasets/{visit.id()}")
    versions, jobs = await asyncio.gather(_versions(visit), visit.client.get("/v1/jobs", limit=100))
    used = [job for job in jobs["data"] if job["spec"].get("dataset") in (shown["id"], shown["name"])]
    return visit.render("dataset.html", dataset=shown, report=shown["report"] or {}, versions=versions, used=used)


async def delete(visit: Visit) -> Response:
    """Delete a dataset that nothing refers to."""
    await visit.client.delete_dataset(visit.id())
    return visit.go("/datasets")


async def _versions(visit: Visit) -> list[dict[str, object]]:
    try:
        return list((await visit.client.get(f"/v1/datasets/{visit.id()}/versions", limit=LIMIT))["data"])
    except Refused:  # it has no name, so no versions
        return []
