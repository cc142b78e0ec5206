"""Datasets: the list, the findings of each check, and uploads."""

import asyncio
from typing import Any

from starlette.responses import Response

from api.console.visit import Visit
from rdrkd.client import Refused

LIMIT = 50


async def datasets(visit: Visit) -> Response:
    """List datasets, newest first, and show the caller's usage of the quota."""
    name = visit.query("name")
    page, usage = await asyncio.gather(
        visit.client.get("/v1/datasets", limit=LIMIT, after=visit.query("after"), name=name), visit.client.usage()
    )
    return visit.render("datasets.html", datasets=page["data"], following=page["next"], name=name, usage=usage)


async def dataset(visit: Visit) -> Response:
    """Show a dataset: statistics, problems, dropped parts, a preview, its versions."""
    shown = await visit.client.get(f"/v1/datasets/{visit.id()}")
    versions, jobs = await asyncio.gather(_versions(visit), visit.client.get("/v1/jobs", limit=100))
    report = shown["report"] or {}
    side = visit.query("imgsz") or ""
    imgsz = min(max(int(side), 32), 8192) if side.isascii() and side.isdecimal() and len(side) < 9 else 640
    used = [job for job in jobs["data"] if job["spec"].get("dataset") in (shown["id"], shown["name"])]
    return visit.render(
        "dataset.html", dataset=shown, report=report, versions=versions, used=used, imgsz=imgsz,
        sizes=sizes(report, imgsz),
    )  # fmt: skip


def sizes(report: dict[str, Any], imgsz: int) -> list[dict[str, Any]]:
    """Return each split's histogram of box sides, also as scaled for an input of `imgsz` px.

    An input smaller than the images shrinks all boxes equally; among images of several sizes, the largest counts.

    >>> statistics = {"size_histogram": {"edges": [0, 8, 16], "counts": [1, 2, 0]}, "tiny_bins": {"tiny": 3},
    ...               "image_width": {"max": 1280}, "image_height": {"max": 720}}
    >>> (one,) = sizes({"statistics": {"splits": {"val": statistics}}}, 640)
    >>> one["rows"]
    [('0 to 8', '0 to 4', 1), ('8 to 16', '4 to 8', 2), ('16 and more', '8 and more', 0)]
    """
    made = []
    for name, one in ((report.get("statistics") or {}).get("splits") or {}).items():
        if "size_histogram" not in one:
            continue
        edges, counts = one["size_histogram"]["edges"], one["size_histogram"]["counts"]
        used = max((place for place, count in enumerate(counts) if count), default=-1) + 2  # the rest is empty
        factor = imgsz / max(one["image_width"]["max"], one["image_height"]["max"], 1)
        spans = [(low, edges[place + 1] if place + 1 < len(edges) else None) for place, low in enumerate(edges)]
        rows = [
            (_span(low, high), _span(low * factor, high and high * factor), count)
            for (low, high), count in zip(spans, counts, strict=False)
        ][:used]
        while len(rows) > 1 and not rows[0][2]:  # drop bins that are smaller than every box
            rows.pop(0)
        made.append(
            {"name": name, "rows": rows, "most": max(counts, default=0) or 1, "bins": one.get("tiny_bins") or {},
             "scaled": factor != 1}
        )  # fmt: skip
    return made


def _span(low: float, high: float | None) -> str:
    return f"{_px(low)} and more" if high is None else f"{_px(low)} to {_px(high)}"


def _px(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


async def delete(visit: Visit) -> Response:
    """Delete a dataset that nothing refers to."""
    await visit.client.delete_dataset(visit.id())
    return visit.go("/datasets")


async def _versions(visit: Visit) -> list[dict[str, object]]:
    try:
        return list((await visit.client.get(f"/v1/datasets/{visit.id()}/versions", limit=LIMIT))["data"])
    except Refused:  # without a name, it has no versions
        return []
