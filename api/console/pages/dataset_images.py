"""Images of a dataset with their boxes, by split, class and size."""

import asyncio

from starlette.responses import Response

from api.console.visit import Visit

LIMIT = 24
SPLITS, SIZES = ("train", "val", "test"), ("tiny", "small", "medium", "large")


async def images(visit: Visit) -> Response:
    """Show a page of images; the URL selects them, and the boxes to draw."""
    path = f"/v1/datasets/{visit.id()}"
    chosen = {name: visit.query(name) for name in ("split", "label", "size")}
    dataset, page = await asyncio.gather(
        visit.client.get(path), visit.client.get(f"{path}/images", limit=LIMIT, after=visit.query("after"), **chosen)
    )
    report = dataset["report"] or {}
    splits = [name for name in SPLITS if name in ((report.get("statistics") or {}).get("splits") or {})]
    return visit.render(
        "dataset_images.html", dataset=dataset, page=page, chosen=chosen, splits=splits, sizes=SIZES,
        names=report.get("names") or [],
    )  # fmt: skip
