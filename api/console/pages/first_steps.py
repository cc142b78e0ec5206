"""The steps from an empty service to a first student: which are done, which comes next, and demo data at one click."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from api.console.visit import Visit
from api.console.words import title

SCENES = Path(__file__).parents[1] / "demo-scenes.zip"  # `tools/draw_demo_scenes.py` draws them
DEMO = "demo-scenes"
# Like `rdrkd demo`, with more epochs because there are fewer scenes: takes minutes on a CPU.
RECIPE = {
    "train.epochs": 12, "train.imgsz": 160, "train.batch": 8, "train.nbs": 8, "train.optimizer": "AdamW",
    "train.lr0": 0.002, "train.warmup_epochs": 1, "train.mosaic": 0, "train.close_mosaic": 0, "train.cache": "ram",
}  # fmt: skip
TEACHER, STUDENT = "architecture:yolov8n", "architecture:yolov8n-half"


async def steps(visit: Visit) -> dict[str, Any] | None:
    """Return the first steps, with the caller's objects for each; None after a distillation has been submitted."""
    get = visit.client.get
    datasets, models, trained, distilled = await asyncio.gather(
        get("/v1/datasets", limit=5),
        get("/v1/models", limit=5),
        get("/v1/jobs", kind="train", status=["queued", "starting", "running", "paused", "succeeded"], limit=1),
        get("/v1/jobs", kind="distill", limit=1),
    )
    if distilled["data"]:
        return None
    dataset = next((one for one in datasets["data"] if one["status"] != "invalid"), None)
    teacher = next((_job(one) for one in trained["data"]), None)
    teacher = teacher or next((_model(one) for one in models["data"] if one["status"] != "invalid"), None)
    return {"dataset": dataset, "teacher": teacher} | links(dataset, teacher)


def links(dataset: dict[str, Any] | None, teacher: dict[str, Any] | None) -> dict[str, str]:
    """Return the links to the form, filled with existing objects; for the demo data, with a recipe that takes minutes.

    >>> links({"id": "ds_1", "name": None}, {"value": "job:job_1"})["distil"]
    '/jobs/new?dataset=ds_1&teacher=job%3Ajob_1'
    """
    chosen: dict[str, Any] = {} if dataset is None else {"dataset": dataset["id"]}
    is_demo = dataset is not None and dataset["name"] == DEMO
    train = chosen | ({"name": "demo teacher", "student": TEACHER} | RECIPE if is_demo else {})
    distil = chosen | ({} if teacher is None else {"teacher": teacher["value"]})
    distil |= {"name": "demo student", "student": STUDENT, "baseline": "on"} | RECIPE if is_demo else {}
    return {
        "train": "/jobs/new?" + urlencode({"kind": "train"} | train),
        "distil": "/jobs/new" + ("?" + urlencode(distil) if distil else ""),
    }


async def take_demo(visit: Visit) -> Response:
    """Upload the demo scenes as a dataset of the caller, unless it exists already, and return to the steps."""
    there = await visit.client.get("/v1/datasets", name=DEMO, limit=1)
    if not there["data"]:
        await visit.client.upload_dataset(SCENES, DEMO)
    return visit.go("/")


def _job(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": f"job:{job['id']}",
        "path": f"/jobs/{job['id']}",
        "title": title(job),
        "status": job["status"],
    }


def _model(model: dict[str, Any]) -> dict[str, Any]:
    name = model["name"] or model["filename"]
    return {"value": f"model:{model['id']}", "path": f"/models/{model['id']}", "title": name, "status": model["status"]}
