"""Submitting a job by a form, which is validated while it is filled in."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from starlette.responses import Response

from api.console import specs
from api.console.service import Service
from api.console.visit import Visit
from rdrkd.client import Refused

CHOICES = 100  # of each list, the newest
FIRST = ("epochs", "imgsz", "batch", "optimizer", "lr0", "seed")  # of the settings; the others are folded away

SECONDS = 600.0  # for which the interface is remembered
_read: WeakKeyDictionary[Service, tuple[float, dict[str, Any]]] = WeakKeyDictionary()


async def form(visit: Visit) -> Response:
    """Show the form: empty, or filled with a job to clone, or with what the URL says."""
    source = visit.query("from")
    base = (await visit.client.get(f"/v1/jobs/{source}"))["spec"] if source else {}
    given = {name: value for name, value in visit.request.query_params.items() if name != "from"}
    return await _shown(visit, {"kind": "distill", "preset": "rdr-kd"} | specs.fields_of(base) | given, base, None)


async def check(visit: Visit) -> Response:
    """Validate what the form says so far, and show it as commands."""
    spec = _spec(visit)
    return visit.render("check.html", **await _checked(visit, spec), commands=specs.commands(spec, _url(visit)))


async def submit(visit: Visit) -> Response:
    """Submit the job; what is refused is said above the form, which keeps what was filled in."""
    try:
        job = await visit.client.submit(_spec(visit))
    except Refused as refused:
        if refused.status in (401, 403):
            raise
        return await _shown(visit, {k: str(v) for k, v in visit.form.items()}, _base(visit.form), refused)
    return visit.go(f"/jobs/{job.id}")


async def _shown(visit: Visit, fields: dict[str, str], base: Mapping[str, Any], refused: Refused | None) -> Response:
    get = visit.client.get
    datasets, models, jobs, methods, architectures, schemas = await asyncio.gather(
        get("/v1/datasets", limit=CHOICES),
        get("/v1/models", limit=CHOICES),
        get("/v1/jobs", limit=CHOICES, status=["queued", "starting", "running", "paused", "succeeded"]),
        get("/v1/methods"),
        get("/v1/architectures"),
        _schemas(visit),
    )
    settings: dict[str, Any] = schemas["TrainSettings"]["properties"]
    return visit.render(
        "new_job.html",
        status=200 if refused is None else refused.status,
        fields=fields,
        base=json.dumps(base),
        refused=refused,
        datasets=[each for each in datasets["data"] if each["status"] != "invalid"],
        models=[each for each in models["data"] if each["status"] != "invalid"],
        jobs=[each for each in jobs["data"] if each["kind"] in ("train", "distill")],
        methods=methods["data"],
        presets=methods["presets"],
        architectures=architectures["data"],
        first=[(name, settings[name]) for name in FIRST if name in settings],
        more=[(name, about) for name, about in settings.items() if name not in FIRST],
        has_baseline="baseline" in schemas["Distill"]["properties"],
    )


async def _schemas(visit: Visit) -> dict[str, Any]:
    """Return the schemas of the interface, at most some minutes old: reading them takes longer than a page."""
    read_at, schemas = _read.get(visit.service, (0.0, {}))
    if not schemas or time.monotonic() - read_at > SECONDS:
        schemas = (await visit.client.get("/openapi.json"))["components"]["schemas"]
        _read[visit.service] = (time.monotonic(), schemas)
    return schemas


async def _checked(visit: Visit, spec: dict[str, Any]) -> dict[str, Any]:
    try:
        checked = await visit.client.validate(spec)
    except Refused as refused:
        if refused.status != 422:
            raise
        errors = [
            {"level": "error", "pointer": each.get("pointer") or "", "detail": each.get("detail", "")}
            for each in refused.document.get("errors") or [{"detail": str(refused)}]
        ]
        return {"ok": False, "findings": errors, "resolved_spec": None, "estimate": None}
    return {name: checked[name] for name in ("ok", "findings", "resolved_spec", "estimate")}


def _spec(visit: Visit) -> dict[str, Any]:
    return specs.spec_of(dict(visit.form.items()), _base(visit.form))


def _base(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec that is cloned, which the form carries along."""
    try:
        base = json.loads(str(fields.get("base") or "{}"))
    except ValueError:
        return {}
    return base if isinstance(base, dict) else {}


def _url(visit: Visit) -> str:
    return str(visit.request.base_url).rstrip("/")
