"""Studies: methods over seeds, their progress and their report."""

from statistics import mean, stdev
from typing import Any

from starlette.responses import Response

from api.console.pages.job import sources
from api.console.verdicts import verdict
from api.console.visit import Visit
from api.console.words import ENDED

LIMIT = 50
ALONE = "none"  # the method that is the student alone


async def studies(visit: Visit) -> Response:
    """List studies, newest first."""
    page = await visit.client.get("/v1/studies", limit=LIMIT, after=visit.query("after"))
    return visit.render("studies.html", studies=page["data"], following=page["next"])


async def study(visit: Visit) -> Response:
    """Show a study: the table of its methods, the report's figures, its jobs."""
    shown = await visit.client.get(f"/v1/studies/{visit.id()}")
    report, files = shown["report"], set()
    if report is not None:
        artifacts = await visit.client.get(f"/v1/jobs/{report['job']}/artifacts")
        files = {file["name"] for file in artifacts["data"]}
    counts, spec = shown["jobs"], shown["spec"]
    refs = {"teacher": (spec.get("teacher") or {}).get("model"), "student": spec.get("student")}
    return visit.render(
        "study.html",
        study=shown,
        sources=await sources(visit, {"dataset": spec.get("dataset"), **refs}),
        rows=by_method(shown["members"]),
        seeds=sorted({member["seed"] for member in shown["members"]}),
        report=report,
        pictures=[name for name in ("differences.png", "curves.png", "panel.png") if name in files],
        done=sum(counts.get(status, 0) for status in ENDED),
        total=sum(counts.values()),
        ended=shown["status"] in ENDED,
    )


def by_method(members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each method: AP by seed, mean, spread, mean paired difference to the student alone, verdict.

    >>> members = [{"method": m, "seed": 0, "AP": ap} for m, ap in (("none", 10.0), ("rdr-kd", 12.0))]
    >>> [(row["method"], row["mean"], row["gain"]) for row in by_method(members)]
    [('none', 10.0, None), ('rdr-kd', 12.0, 2.0)]
    """
    grid: dict[str, dict[int, dict[str, Any]]] = {}
    for member in members:
        grid.setdefault(member["method"], {})[member["seed"]] = member
    alone = {seed: member["AP"] for seed, member in grid.get(ALONE, {}).items() if member["AP"] is not None}
    rows = []
    for method, cells in grid.items():
        known = {seed: member["AP"] for seed, member in cells.items() if member["AP"] is not None}
        pairs = [(value, alone[seed]) for seed, value in known.items() if seed in alone and method != ALONE]
        rows.append({
            "method": method, "cells": cells, "known": len(known), "mean": mean(known.values()) if known else None,
            "spread": stdev(known.values()) if len(known) > 1 else None,
            "gain": mean(value - other for value, other in pairs) if pairs else None,
            "verdict": verdict(pairs) if alone and method != ALONE else None,
        })  # fmt: skip
    return rows


async def act(visit: Visit) -> Response:
    """Perform the action of a button."""
    action = visit.request.path_params["action"]
    if action == "delete":
        await visit.client.delete_study(visit.id())
        return visit.go("/studies")
    await visit.client.send("POST", f"/v1/studies/{visit.id()}/{action}")
    return visit.go(f"/studies/{visit.id()}")
