"""Compare jobs side by side: figures, the settings in which they differ, curves, and cost against gain."""

import asyncio
from typing import Any

from starlette.responses import JSONResponse, Response

from api.console import scatter
from api.console.pages.home import AP, CURVE
from api.console.pages.jobs import names, similar
from api.console.visit import HEADERS, Visit
from api.console.words import FIGURES, title

MOST, PAGE, MOST_CURVES = 400, 100, 12  # jobs per comparison, jobs per request, distinguishable curves
EPOCHS, MOST_SETTINGS, MOST_COLUMNS, MOST_STUDIES = 200, 40, 20, 30


async def compare(visit: Visit) -> Response:
    """Compare the jobs that the URL names: by id, or all of a study, a name or a label."""
    jobs, studies = await asyncio.gather(_jobs(visit), visit.client.get("/v1/studies", limit=MOST_STUDIES))
    known = await names(visit, jobs, suggest=True)
    rows = sorted((row for job in jobs for row in _rows(job)), key=lambda row: -(row["figures"].get("AP_S") or -1.0))
    return visit.render(
        "compare.html",
        rows=rows,
        figures=FIGURES,
        columns=[row for row in rows if row["settings"]][:MOST_COLUMNS],
        studies=studies["data"],
        differing=differing(jobs),
        chart=scatter.chart([(row["title"], row["seconds"], row["figures"].get("AP")) for row in rows]),
        chosen={name: visit.query(name) for name in ("study", "name", "label")},
        query=visit.request.url.query,
        drawn=min(len(jobs), MOST_CURVES),
        count=len(jobs),
        known=known,
        similar=similar(known, visit.query("name")),
    )


async def compare_curves(visit: Visit) -> Response:
    """Return the jobs' AP over their epochs, as a chart."""
    jobs = (await _jobs(visit))[:MOST_CURVES]
    found = await asyncio.gather(
        *(visit.client.get(f"/v1/jobs/{job['id']}/metrics", **CURVE, downsample=EPOCHS) for job in jobs)
    )
    drawn = [one["data"] for one in found]
    epochs = sorted({epoch for one in drawn for epoch in one["epoch"]})
    series = []
    for job, one in zip(jobs, drawn, strict=True):
        known = dict(zip(one["epoch"], one.get(AP, []), strict=False))
        series.append({"name": title(job), "values": [known.get(epoch) for epoch in epochs]})
    charts = [{"title": "AP, validation", "unit": "%", "series": series}] if epochs else []
    return JSONResponse({"epochs": epochs, "charts": charts, "best": None, "resumed": []}, headers=HEADERS)


async def _jobs(visit: Visit) -> list[dict[str, Any]]:
    ids = visit.request.query_params.getlist("job")
    if ids:
        return list(await asyncio.gather(*(visit.client.get(f"/v1/jobs/{each}") for each in ids[:MOST])))
    filters = {name: value for name in ("study", "name", "label") if (value := visit.query(name))}
    found: list[dict[str, Any]] = []
    after = None
    while filters and len(found) < MOST:
        page = await visit.client.get("/v1/jobs", limit=PAGE, after=after, **filters)
        found += [job for job in page["data"] if job["kind"] in ("distill", "train", "evaluate")]
        if (after := page["next"]) is None:
            break
    return found[:MOST]


def _rows(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a job's row, and that of the student alone if the job has trained it; `seconds` are of the training."""
    result = job["result"] or {}
    comparison = result.get("comparison") or {}
    student, alone = comparison.get("student") or {}, comparison.get("alone")
    about = {"id": job["id"], "status": job["status"]}
    figures = (result.get("metrics") or {}).get("coco")
    row = {
        **about, "title": title(job), "figures": figures or _so_far(job), "is_own": not figures,
        "seconds": student.get("training_seconds") or result.get("seconds"), "memory": result.get("memory_bytes"),
        "settings": _of(job, job["resolved_spec"] or job["spec"]),
    }  # fmt: skip
    if not alone:
        return [row]
    of_alone = {"figures": alone, "seconds": alone.get("training_seconds"), "memory": None, "settings": {}}
    return [row, {**about, "title": f"{title(job)}, student alone", "is_own": False, **of_alone}]


def _so_far(job: dict[str, Any]) -> dict[str, float | None]:
    """Return Ultralytics' figures of the latest epoch, which the page marks."""
    metrics = job["metrics"] or {}
    return {"AP": metrics.get("mAP50_95"), "AP50": metrics.get("mAP50")}


def differing(jobs: list[dict[str, Any]]) -> list[str]:
    """Return the names of the settings in which jobs differ, among those that all jobs have or that users have set.

    Defaults that only some jobs have, such as the options of a loss term, would hide the rest.

    >>> one, other = {"train": {"seed": 0, "lr0": 0.1}}, {"train": {"seed": 1, "lr0": 0.1}, "teacher": {"job": "job_1"}}
    >>> differing([{"spec": one, "resolved_spec": None}, {"spec": other, "resolved_spec": None}])
    ['train.seed', 'teacher.job']
    """
    flat = [_of(job, job["resolved_spec"] or job["spec"]) for job in jobs]
    chosen = {name for job in jobs for name in _of(job, job["spec"])}
    names = dict.fromkeys(name for each in flat for name in each)
    return [
        name
        for name in names
        if name != "name"
        and (name in chosen or (all(name in each for each in flat) and not name.endswith(".weight")))  # calibrated
        and len({str(each.get(name)) for each in flat}) > 1
    ][:MOST_SETTINGS]


def _of(job: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec's settings, with the model of a training under the name of a distillation's student."""
    flat = _flat(spec)
    if job.get("kind") != "train":
        return flat
    return {"student." + name.removeprefix("model.") if name.startswith("model.") else name: one
            for name, one in flat.items()}  # fmt: skip


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {name: v for key, each in value.items() for name, v in _flat(each, f"{prefix}{key}.").items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        named = {str(each.get("name", place)): each for place, each in enumerate(value)}
        return _flat(named, prefix)
    return {prefix.removesuffix("."): value}
