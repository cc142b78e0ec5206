"""Home: what runs, what waits, what failed last, and what to do first."""

import asyncio
from typing import Any

from starlette.responses import Response

from api.console.visit import Visit
from api.console.words import RUNNING

SHOWN, LATEST = 8, 5  # running jobs; of each other list
SPARK_EPOCHS = 40
AP = "metrics/mAP50_95"


async def home(visit: Visit) -> Response:
    """Show the service at a glance."""
    get = visit.client.get
    queue, workers, running, failed, done, datasets = await asyncio.gather(
        get("/v1/queue", limit=LATEST),
        visit.client.workers(),
        get("/v1/jobs", status=list(RUNNING), limit=SHOWN),
        get("/v1/jobs", status="failed", limit=LATEST),
        get("/v1/jobs", status="succeeded", limit=LATEST),
        get("/v1/datasets", limit=1),
    )
    curves = await asyncio.gather(*(_curve(visit, job["id"]) for job in running["data"]))
    counts: dict[str, int] = queue["counts"]
    return visit.render(
        "home.html",
        queue=queue,
        workers=[worker for worker in workers if worker["alive"]],
        lost=[worker for worker in workers if not worker["alive"]],
        gpus=[device for worker in workers if worker["alive"] for device in worker["devices"]],
        running=list(zip(running["data"], curves, strict=True)),
        failed=failed["data"],
        done=done["data"],
        busy=sum(counts[status] for status in RUNNING),
        empty=not datasets["data"] and not any(counts.values()),
    )


async def _curve(visit: Visit, job_id: str) -> list[Any]:
    columns = await visit.client.get(f"/v1/jobs/{job_id}/metrics", name=AP, format="columns", downsample=SPARK_EPOCHS)
    return list(columns["data"].get(AP, []))
