"""Shared parts of the forms for jobs and studies: the choices that they offer, and how they show a refused spec."""

import asyncio
import time
from typing import Any
from weakref import WeakKeyDictionary

from api.console.service import Service
from api.console.visit import Visit
from rdrkd.client import Refused

LISTED = 100  # newest entries of each list
FIRST = ("epochs", "imgsz", "batch", "optimizer", "lr0", "seed")  # settings shown first; the others are collapsed
SECONDS = 600.0  # how long the interface is cached
Interface = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # methods, architectures, schemas
_read: WeakKeyDictionary[Service, tuple[float, Interface | None]] = WeakKeyDictionary()


async def offered(visit: Visit) -> dict[str, Any]:
    """Return the choices for a form's fields, under the names that its template uses."""
    get = visit.client.get
    datasets, models, jobs, (methods, architectures, schemas) = await asyncio.gather(
        get("/v1/datasets", limit=LISTED),
        get("/v1/models", limit=LISTED),
        get("/v1/jobs", limit=LISTED, status=["queued", "starting", "running", "paused", "succeeded"]),
        _interface(visit),
    )
    settings: dict[str, Any] = schemas["TrainSettings"]["properties"]
    return {
        "datasets": [each for each in datasets["data"] if each["status"] != "invalid"],
        "models": [each for each in models["data"] if each["status"] != "invalid"],
        "jobs": [each for each in jobs["data"] if each["kind"] in ("train", "distill")],
        "methods": methods["data"],
        "presets": methods["presets"],
        "architectures": architectures["data"],
        "first": [(name, settings[name]) for name in FIRST if name in settings],
        "more": [(name, about) for name, about in settings.items() if name not in FIRST],
        "has_baseline": "baseline" in schemas["Distill"]["properties"],
    }


def errors_of(refused: Refused) -> list[dict[str, str]]:
    """Return the reasons for the refusal of a spec, as findings.

    Raises:
        Refused: the request was refused for a reason other than the spec.
    """
    if refused.status != 422:
        raise refused
    return [
        {"level": "error", "pointer": each.get("pointer") or "", "detail": each.get("detail", "")}
        for each in refused.document.get("errors") or [{"detail": str(refused)}]
    ]


def kept(visit: Visit, refused: Refused) -> dict[str, str]:
    """Return a form's fields as they were filled in, to show them again with the refusal.

    Raises:
        Refused: the caller may not submit at all, so there is no form to return to.
    """
    if refused.status in (401, 403):
        raise refused
    return {name: str(value) for name, value in visit.form.items()}


def url(visit: Visit) -> str:
    """Return the base URL under which the reader reaches the service."""
    return str(visit.request.base_url).rstrip("/")


async def _interface(visit: Visit) -> Interface:
    """Return methods, architectures and schemas, cached for some minutes: only a new version changes them."""
    read_at, interface = _read.get(visit.service, (0.0, None))
    if interface is None or time.monotonic() - read_at > SECONDS:
        get = visit.client.get
        methods, architectures, document = await asyncio.gather(
            get("/v1/methods"), get("/v1/architectures"), get("/openapi.json")
        )
        interface = (methods, architectures, document["components"]["schemas"])
        _read[visit.service] = (time.monotonic(), interface)
    return interface
