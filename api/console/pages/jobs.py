"""The list of jobs, by filters in the URL."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from api.console.visit import Visit

LIMIT = 25
STATUSES = ("queued", "starting", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled")
KINDS = ("distill", "train", "evaluate", "export", "compare")


async def jobs(visit: Visit) -> Response:
    """List jobs, newest first."""
    chosen = {name: visit.query(name) for name in ("status", "kind", "name", "study")}
    page = await visit.client.get("/v1/jobs", limit=LIMIT, after=visit.query("after"), **chosen)
    filters = {name: value for name, value in chosen.items() if value}
    known = await names(visit, page["data"], suggest=chosen["name"] is not None)
    following = "?" + urlencode(filters | {"after": page["next"]}) if page["next"] else None
    return visit.render(
        "jobs.html", jobs=page["data"], chosen=chosen, following=following, statuses=STATUSES, kinds=KINDS,
        filtered=bool(filters), later=visit.query("after") is not None, known=known,
        similar=similar(known, chosen["name"]),
    )  # fmt: skip


async def names(visit: Visit, jobs: list[dict[str, Any]], *, suggest: bool) -> list[str]:
    """Return the names among these jobs; if there are no jobs, `suggest` those of the newest of all."""
    if not jobs and suggest:
        jobs = (await visit.client.get("/v1/jobs", limit=100))["data"]
    return list(dict.fromkeys(job["name"] for job in jobs if job["name"]))


def similar(known: list[str], name: str | None) -> list[str]:
    """Return the names that contain a name, or are contained in it.

    >>> similar(["Student 1", "teacher", "x"], "stud"), similar(["teacher"], None)
    (['Student 1'], [])
    """
    asked = (name or "").casefold()
    return [one for one in known if asked and (asked in one.casefold() or one.casefold() in asked)]
