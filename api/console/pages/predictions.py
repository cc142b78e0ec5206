"""The detections of a job's networks in the same validation images, any two networks side by side."""

import asyncio
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from api.console.gallery import FILE, TRUTH, Predictions
from api.console.visit import Visit
from api.console.words import ENDED


async def predictions(visit: Visit) -> Response:
    """Show the images with the student's worst misses; the URL selects the two networks and the overlay."""
    path = f"/v1/jobs/{visit.id()}"
    job, document = await asyncio.gather(visit.client.get(path), visit.client.get(f"{path}/artifacts/{FILE}"))
    try:
        newest = Predictions.model_validate(document)
        at = visit.query("at") or ""
        read = newest.after(int(at)) if at.isascii() and at.isdecimal() and len(at) < 9 else newest
    except ValidationError:
        return visit.problem(502, "Cannot be shown", f"expected the predictions of a job in {FILE}, got something else")
    sides, overlays = read.sides(), read.overlays()
    left = _chosen(visit.query("left"), sides, "teacher" if "teacher" in read.networks else TRUTH)
    right = _chosen(visit.query("right"), sides, "student")
    over = _chosen(visit.query("over"), overlays, "")
    return visit.render(
        "predictions.html",
        job=job,
        epoch=read.epoch,
        epochs=newest.epochs,
        ended=job["status"] in ENDED,
        sides=sides,
        overlays=overlays,
        chosen={"left": left, "right": right, "over": over},
        scenes=[_scene(read, image, left, right, over) for image in read.images],
    )


def _scene(read: Predictions, image: Any, left: str, right: str, over: str) -> dict[str, Any]:
    maps = [one for one in image.maps if f"{one.term}-{one.level}" == over]
    return {"image": image, "left": read.side(image, left), "right": read.side(image, right), "maps": maps}


def _chosen(asked: str | None, choices: list[tuple[str, str]], default: str) -> str:
    return asked if asked is not None and asked in {value for value, _ in choices} else default
