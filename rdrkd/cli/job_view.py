"""A job for people: its state, inputs, settings and result, a line each; `--json` prints everything."""

from collections.abc import Iterator, Mapping
from typing import Any

from rdrkd.cli.following import line_of
from rdrkd.cli.terminal import time_of
from rdrkd.figures import percent
from rdrkd.run_warnings import verdict_of

_INPUTS = ("teacher", "student", "model", "dataset")
_SETTINGS = ("epochs", "imgsz", "batch")
_FIGURES = ("AP", "AP50", "AP_S")


def lines_of(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of a job: a heading and a text each.

    >>> spec = {"teacher": {"model": "mdl_1"}, "dataset": "ds_1", "train": {"epochs": 3}}
    >>> lines_of({"id": "job_1", "name": None, "kind": "distill", "status": "queued", "spec": spec})
    [('job', 'job_1'), ('kind', 'distill'), ('state', 'queued'), ('teacher', 'mdl_1'), ('dataset', 'ds_1'), \
('settings', 'epochs 3')]
    """
    return [(heading, text) for heading, text in _lines(shown) if text]


def _lines(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    spec, result = shown.get("spec") or {}, shown.get("result") or {}
    yield "job", " ".join(filter(None, (shown["id"], shown.get("name"))))
    yield "kind", str(shown["kind"])
    yield "state", line_of(dict(shown)).removeprefix(f"{shown['id']}: ")
    for name in _INPUTS:
        yield name, _named(spec.get(name))
    yield "preset", str((spec.get("distillation") or {}).get("preset") or "")
    resolved = shown.get("resolved_spec") or spec
    settings = resolved.get("train") or resolved.get("evaluation") or {}
    yield "settings", ", ".join(f"{name} {settings[name]}" for name in _SETTINGS if settings.get(name) is not None)
    for name in ("created_at", "started_at", "finished_at"):
        yield name.removesuffix("_at"), time_of(shown[name]) if shown.get(name) else ""
    for problem in shown.get("problems") or ():
        yield "problem", f"{problem['where']} {problem['detail']}"
    for warning in shown.get("warnings") or ():
        yield "warning", f"{warning['code']}: {warning['message']}"
    metrics = (result.get("metrics") or {}).get("coco") or {}
    yield "result", ", ".join(f"{name} {percent(metrics[name])}" for name in _FIGURES if name in metrics)
    yield "verdict", " ".join(verdict_of(result))


def _named(reference: Any) -> str:
    """Return a reference in a few words: its id, name, architecture or file."""
    if isinstance(reference, Mapping):
        pretrained = " (pretrained)" if reference.get("pretrained") else ""
        return next((str(value) for value in reference.values() if isinstance(value, str)), "") + pretrained
    return str(reference or "")
