"""Home: running, waiting and recently failed jobs, and the first steps."""

import asyncio
from typing import Any

from starlette.responses import Response

from api.console.pages.first_steps import steps
from api.console.visit import Visit
from api.console.words import RUNNING, title
from rdrkd.epochs import STUDENT

SHOWN, LATEST = 8, 5  # number of running jobs; entries of each other list
SPARK_EPOCHS = 40
AP = "metrics/mAP50_95"
CURVE = {"name": AP, "part": STUDENT, "format": "columns"}  # of a job, without its baseline


async def home(visit: Visit) -> Response:
    """Show the service at a glance."""
    get = visit.client.get
    queue, workers, running, failed, done = await asyncio.gather(
        get("/v1/queue", limit=LATEST),
        visit.client.workers(),
        get("/v1/jobs", status=list(RUNNING), limit=SHOWN),
        get("/v1/jobs", status="failed", limit=LATEST),
        get("/v1/jobs", status="succeeded", limit=LATEST),
    )
    is_new = len(done["data"]) < LATEST  # users with that many results need no first steps
    first, *drawn = await asyncio.gather(
        steps(visit) if is_new else asyncio.sleep(0), *(_curve(visit, job["id"]) for job in running["data"])
    )
    counts: dict[str, int] = queue["counts"]
    return visit.render(
        "home.html",
        queue=queue,
        workers=[worker for worker in workers if worker["alive"]],
        lost=[worker for worker in workers if not worker["alive"]],
        gpus=[device for worker in workers if worker["alive"] for device in worker["devices"]],
        running=list(zip(running["data"], drawn, strict=True)),
        failed=failed["data"],
        done=done["data"],
        titles={job["id"]: title(job) for job in running["data"]},
        busy=sum(counts[status] for status in RUNNING),
        steps=first,
    )


async def _curve(visit: Visit, job_id: str) -> list[Any]:
    columns = await visit.client.get(f"/v1/jobs/{job_id}/metrics", **CURVE, downsample=SPARK_EPOCHS)
    return list(columns["data"].get(AP, []))
