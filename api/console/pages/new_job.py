"""Submit a job by a form, which is validated while it is filled in."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from api.console import choices, specs
from api.console.visit import Visit
from rdrkd.client import Refused


async def form(visit: Visit) -> Response:
    """Show the form: empty, or filled from a job to clone, or from the URL."""
    source = visit.query("from")
    cloned = await visit.client.get(f"/v1/jobs/{source}") if source else None
    base = cloned["spec"] if cloned else {}
    given = {name: value for name, value in visit.request.query_params.items() if name != "from"}
    taken = None if cloned or any(name.startswith("train.") for name in given) else await _teacher(visit, given)
    fields = {"kind": "distill", "preset": "rdr-kd"} | _settings(taken) | specs.fields_of(base) | given
    return await _shown(visit, fields, base, None, cloned=cloned, taken=taken)


async def _teacher(visit: Visit, given: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the job that trains the URL's teacher: settings that suit the teacher also suit its student."""
    how, _, job = given.get("teacher", "").partition(":")
    if how != "job" or given.get("kind", "distill") != "distill":
        return None
    try:
        return dict(await visit.client.get(f"/v1/jobs/{job}"))
    except Refused:
        return None


def _settings(job: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the training settings that a job's owner has set, except its seed."""
    chosen = specs.fields_of(job["spec"]) if job else {}
    return {name: value for name, value in chosen.items() if name.startswith("train.") and name != "train.seed"}


async def check(visit: Visit) -> Response:
    """Validate the form's current content, and show it as commands."""
    spec = _spec(visit)
    checked, workers = await asyncio.gather(_checked(visit, spec), visit.client.workers())
    trainers = [worker for worker in workers if worker["alive"] and worker["queue"] == "train"]
    return visit.render(
        "check.html",
        **checked,
        what="job",
        commands=specs.commands(spec, choices.url(visit)),
        slow=bool(trainers) and not any(worker["devices"] for worker in trainers),
    )


async def submit(visit: Visit) -> Response:
    """Submit the job; a refusal is shown above the form, which keeps its fields."""
    try:
        job = await visit.client.submit(_spec(visit))
    except Refused as refused:
        return await _shown(visit, choices.kept(visit, refused), _base(visit.form), refused)
    return visit.go(f"/jobs/{job.id}")


async def _shown(
    visit: Visit,
    fields: dict[str, str],
    base: Mapping[str, Any],
    refused: Refused | None,
    cloned: dict[str, Any] | None = None,
    taken: dict[str, Any] | None = None,
) -> Response:
    status = 200 if refused is None else refused.status
    offered = await choices.offered(visit)
    if refused is None:
        fields = only_choices(offered) | fields
    return visit.render(
        "new_job.html",
        status=status,
        fields=fields,
        changed=sum(bool(fields.get(f"train.{name}")) for name, _ in offered["more"]),
        base=json.dumps(base),
        refused=refused,
        cloned=cloned,
        taken=taken if taken and _settings(taken) else None,
        **offered,
    )


def only_choices(offered: Mapping[str, Any]) -> dict[str, str]:
    """Return the dataset and the teacher, if there is only one choice.

    >>> only_choices({"datasets": [{"id": "ds_1"}], "models": [], "jobs": [{"id": "job_1"}, {"id": "job_2"}]})
    {'dataset': 'ds_1'}
    """
    datasets = [one["id"] for one in offered["datasets"]]
    teachers = [f"{kind}:{one['id']}" for kind in ("model", "job") for one in offered[f"{kind}s"]]
    only = {"dataset": datasets, "teacher": teachers}
    return {name: ids[0] for name, ids in only.items() if len(ids) == 1}


async def _checked(visit: Visit, spec: dict[str, Any]) -> dict[str, Any]:
    try:
        checked = await visit.client.validate(spec)
    except Refused as refused:
        return {"ok": False, "findings": choices.errors_of(refused), "resolved_spec": None, "estimate": None}
    return {name: checked[name] for name in ("ok", "findings", "resolved_spec", "estimate")}


def _spec(visit: Visit) -> dict[str, Any]:
    return specs.spec_of(dict(visit.form.items()), _base(visit.form))


def _base(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec to clone, which the form contains in a hidden field."""
    try:
        base = json.loads(str(fields.get("base") or "{}"))
    except ValueError:
        return {}
    return base if isinstance(base, dict) else {}
