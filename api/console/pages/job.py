"""One job: its state, curves, files, attempts and log, and its owner's actions."""

import asyncio
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from api.console import curves
from api.console.visit import HEADERS, Visit
from api.console.words import ENDED, title
from rdrkd.run_warnings import verdict_of

TAIL, MOST_EPOCHS = 300, 1000  # log lines shown at first; epochs per curve
ACTIONS = {  # actions by status, in the order of the buttons
    "pause": ("queued", "starting", "running"),
    "resume": ("paused",),
    "retry": ("failed", "cancelled"),
    "cancel": ("queued", "starting", "running", "pausing", "paused"),
    "delete": ("paused", *ENDED),
}
BODIES: dict[str, dict[str, Any]] = {"pause": {"checkpoint": "save"}, "retry": {"from": "checkpoint"}}


async def job(visit: Visit) -> Response:
    """Show a job."""
    path = f"/v1/jobs/{visit.id()}"
    get = visit.client.get
    shown, attempts, artifacts, checkpoints = await asyncio.gather(
        get(path), get(f"{path}/attempts"), get(f"{path}/artifacts"), get(f"{path}/checkpoints")
    )
    files, named = artifacts["data"], await sources(visit, shown["spec"])
    said = shown["result"] or {"warnings": shown["warnings"]}  # before its end, a run may already look dead
    return visit.render(
        "job.html",
        job=shown,
        attempts=attempts["data"],
        files=files,
        sources=named,
        names={file["name"] for file in files},
        checkpoints=checkpoints["data"],
        state=f"{shown['attempt']}-{shown['epoch']}-{shown['status']}-{len(checkpoints['data'])}",
        actions=[name for name, statuses in ACTIONS.items() if shown["status"] in statuses] if visit.may_write else [],
        compared=compared(shown),
        verdict=" ".join(verdict_of(said)),
        doubted=bool(verdict_of({"warnings": said.get("warnings")})),
        imgsz=((shown["resolved_spec"] or shown["spec"]).get("train") or {}).get("imgsz", 640),
        ended=shown["status"] in ENDED,
    )


async def sources(visit: Visit, spec: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the names and URLs of the existing objects to which a spec refers, by id."""
    refs = [ref for field in ("teacher", "student", "model") for ref in [spec.get(field) or {}]]
    paths = {spec["dataset"]: "datasets"} if spec.get("dataset") else {}
    paths |= {ref[how]: place for ref in refs for how, place in (("job", "jobs"), ("model", "models")) if how in ref}
    found = await asyncio.gather(
        *(visit.client.get(f"/v1/{place}/{quote(name, safe='')}") for name, place in paths.items()),
        return_exceptions=True,
    )
    return {
        name: {"path": f"/{place}/{one['id']}", "title": title(one) if place == "jobs" else _called(one)}
        for (name, place), one in zip(paths.items(), found, strict=True)
        if not isinstance(one, BaseException)
    }


def _called(upload: dict[str, Any]) -> str:
    version = f" v{upload['version']}" if upload.get("version") else ""
    return str(upload["name"] or upload["filename"]) + version


def compared(shown: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the columns of the table of figures: teacher, student alone and student, as far as the result has them."""
    result = shown["result"] or {}
    comparison = result.get("comparison") or {}
    columns = [
        (words, comparison[name])
        for name, words in (("teacher", "teacher"), ("alone", "student alone"), ("student", "distilled student"))
        if isinstance(comparison.get(name), dict)
    ]
    coco = (result.get("metrics") or {}).get("coco")
    return columns or ([("this network", coco)] if coco else [])


async def job_curves(visit: Visit) -> Response:
    """Return a job's charts as JSON, for the page's script."""
    path = f"/v1/jobs/{visit.id()}"
    metrics, checkpoints, shown = await asyncio.gather(
        visit.client.get(f"{path}/metrics", format="columns", downsample=MOST_EPOCHS),
        visit.client.get(f"{path}/checkpoints"),
        visit.client.get(path),
    )
    of_result = (shown["result"] or {}).get("best_epoch")  # an ended job keeps no checkpoints
    best = next((each["epoch"] for each in checkpoints["data"] if each["is_best"]), of_result)
    return JSONResponse(curves.charts(metrics["data"]) | {"best": best}, headers=HEADERS)


async def job_log(visit: Visit) -> Response:
    """Return the lines of a job's log after a position, as JSON; the page's script inserts them as text."""
    after = visit.query("after")
    given = {"after": after} if after else {"tail": TAIL}
    page = await visit.client.get(f"/v1/jobs/{visit.id()}/logs", **given)
    pieces = [
        {"attempt": piece["attempt"], "text": piece["text"], "dropped": piece["dropped"]} for piece in page["data"]
    ]
    return JSONResponse({"pieces": pieces, "next": page["next"], "more": page["has_more"]}, headers=HEADERS)


async def act(visit: Visit) -> Response:
    """Perform the action of a button."""
    action, path = visit.request.path_params["action"], f"/v1/jobs/{visit.id()}"
    if action == "delete":
        await visit.client.delete(visit.id())
        return visit.go("/jobs")
    await visit.client.send("POST", f"{path}/{action}", BODIES.get(action))
    return visit.go(f"/jobs/{visit.id()}")
