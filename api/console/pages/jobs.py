"""The list of jobs, by filters in the URL."""

from urllib.parse import urlencode

from starlette.responses import Response

from api.console.visit import Visit

LIMIT = 50
STATUSES = ("queued", "starting", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled")
KINDS = ("distill", "train", "evaluate", "export", "compare")


async def jobs(visit: Visit) -> Response:
    """List jobs, newest first."""
    chosen = {name: visit.query(name) for name in ("status", "kind", "name", "study")}
    page = await visit.client.get("/v1/jobs", limit=LIMIT, after=visit.query("after"), **chosen)
    filters = {name: value for name, value in chosen.items() if value}
    following = "?" + urlencode(filters | {"after": page["next"]}) if page["next"] else None
    return visit.render(
        "jobs.html", jobs=page["data"], chosen=chosen, following=following, statuses=STATUSES, kinds=KINDS,
        filtered=bool(filters), later=visit.query("after") is not None,
    )  # fmt: skip
