"""Submit a study by a form, which is validated while it is filled in."""

from typing import Any

from starlette.responses import Response

from api.console import choices, specs
from api.console.study_specs import GROUPS, METRICS, study_of
from api.console.visit import Visit
from rdrkd.client import Refused

START = {"method.none": "on", "method.rdr-kd": "on", "seeds": "0, 1, 2"}


async def form(visit: Visit) -> Response:
    """Show the form, filled with common defaults or from the URL."""
    given = dict(visit.request.query_params)
    start = {} if any(name.startswith("method.") for name in given) else START
    return await _shown(visit, start | given, None)


async def check(visit: Visit) -> Response:
    """Validate the form's current content, and show it as commands."""
    spec = _spec(visit)
    commands = specs.commands(spec, choices.url(visit))
    return visit.render("check.html", what="study", estimate=None, commands=commands, **await _checked(visit, spec))


async def submit(visit: Visit) -> Response:
    """Submit the study; a refusal is shown above the form, which keeps its fields."""
    try:
        study = await visit.client.submit_study(_spec(visit))
    except Refused as refused:
        return await _shown(visit, choices.kept(visit, refused), refused)
    return visit.go(f"/studies/{study.id}")


async def _shown(visit: Visit, fields: dict[str, str], refused: Refused | None) -> Response:
    offered = await choices.offered(visit)
    if refused is None and len(offered["datasets"]) == 1:
        fields = {"dataset": offered["datasets"][0]["id"]} | fields
    return visit.render(
        "new_study.html",
        status=200 if refused is None else refused.status,
        fields=fields,
        refused=refused,
        groups=GROUPS,
        metrics=METRICS,
        **offered,
    )


async def _checked(visit: Visit, spec: dict[str, Any]) -> dict[str, Any]:
    try:
        checked = await visit.client.send("POST", "/v1/studies/validate", spec)
    except Refused as refused:
        return {"ok": False, "findings": choices.errors_of(refused), "resolved_spec": None}
    size = f"{checked['jobs']} jobs, each of {len(checked['methods'])} methods with each seed"
    return {name: checked[name] for name in ("ok", "findings", "resolved_spec")} | {"size": size}


def _spec(visit: Visit) -> dict[str, Any]:
    return study_of(dict(visit.form.items()))
