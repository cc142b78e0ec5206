"""Convert a form's fields to a job's spec, and a spec to fields and to commands to copy."""

import json
import pprint
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

OWN = "own"  # choice instead of a preset: the ticked terms


def spec_of(fields: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Build a spec from a form's fields.

    Args:
        fields: the fields as sent by the form; empty ones are ignored.
        base: the cloned spec, whose other settings are kept.

    >>> spec_of({"kind": "train", "dataset": "ds_1", "student": "architecture:yolov8n", "train.epochs": "5"}, {})
    {'kind': 'train', 'dataset': 'ds_1', 'model': {'architecture': 'yolov8n'}, 'train': {'epochs': 5}}
    """
    given = {name: str(value).strip() for name, value in fields.items() if str(value).strip()}
    kind = given.get("kind", "distill")
    made: dict[str, Any] = {"kind": kind} | {name: given[name] for name in ("name", "dataset") if name in given}
    networks = {"teacher": "teacher", "student": "student"} if kind == "distill" else {"student": "model"}
    made |= {target: source_of(given[field]) for field, target in networks.items() if field in given}
    if kind == "distill":
        made["distillation"] = _distillation(given, base.get("distillation") or {})
        if "baseline" in given:
            made["baseline"] = True
    made["train"] = settings_of(given)
    kept = {name: value for name, value in base.items() if name in ("labels", "priority", "timeout_seconds")}
    return {name: value for name, value in (kept | made).items() if value != {}}


def fields_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a form for a spec.

    >>> fields_of({"kind": "train", "model": {"job": "job_1"}, "train": {"cos_lr": True}})
    {'kind': 'train', 'student': 'job:job_1', 'train.cos_lr': 'true'}
    """
    fields = {name: str(spec[name]) for name in ("kind", "name", "dataset") if spec.get(name)}
    for source, field in (("teacher", "teacher"), ("student", "student"), ("model", "student")):
        for how, name in (spec.get(source) or {}).items():
            fields[field] = f"{how}:{name}"
    distillation = spec.get("distillation") or {}
    if distillation:
        fields["preset"] = distillation.get("preset") or OWN
    for term in distillation.get("losses") or []:
        fields |= {f"loss.{term['name']}": "on"}
        fields |= {f"weight.{term['name']}": json.dumps(term["weight"])} if "weight" in term else {}
    if spec.get("baseline"):
        fields["baseline"] = "on"
    return fields | {f"train.{name}": _text(value) for name, value in (spec.get("train") or {}).items()}


def settings_of(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the training settings among a form's fields."""
    return {name.removeprefix("train."): value_of(value) for name, value in given.items() if name.startswith("train.")}


def commands(spec: Mapping[str, Any], url: str) -> list[tuple[str, str]]:
    """Return a job or study as commands for a terminal and as Python code."""
    what = "job" if "kind" in spec else "study"
    feature = {"job": "jobs", "study": "studies"}[what]
    document = json.dumps(spec, indent=2, ensure_ascii=False)
    curl = (
        f'curl -sf {shlex.quote(f"{url}/v1/{feature}")} \\\n  -H "Authorization: Bearer $RDRKD_TOKEN" \\\n'
        f"  --json {shlex.quote(document)}"
    )
    submit = f"rdrkd {feature} submit {what}.json --url {shlex.quote(url)} --wait"
    line = f"cat > {what}.json <<'END'\n{document}\nEND\n{submit}"
    written = _indented(pprint.pformat(dict(spec), sort_dicts=False, width=90), 8)
    python = (
        "from rdrkd.client import Client\n\n"
        f"with Client({url!r}, token=None) as service:  # token: an API key\n"
        + {
            "job": f"    job = service.submit(\n{written}\n    )\n    service.wait(job.id)\n"
            '    service.download_weights(job.id, "student.pt")',
            "study": f"    study = service.submit_study(\n{written}\n    )\n    service.wait_study(study.id)",
        }[what]
    )
    return [("curl", curl), ("command line", line), ("Python", python)]


def _distillation(given: Mapping[str, str], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preset, or the ticked terms; a cloned term keeps its other parameters."""
    preset = given.get("preset", OWN)
    if preset != OWN:
        return {"preset": preset} | _kept(base, ("calibration", "schedule"))
    before = {term["name"]: term for term in base.get("losses") or []}
    ticked = [name.removeprefix("loss.") for name in given if name.startswith("loss.")]
    terms = [before.get(name, {}) | {"name": name} | _weight(given.get(f"weight.{name}")) for name in ticked]
    return {"losses": terms} | _kept(base, ("calibration", "schedule"))


def _kept(base: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: base[name] for name in names if base.get(name) is not None}


def _weight(text: str | None) -> dict[str, Any]:
    return {} if text is None else {"weight": value_of(text)}


def source_of(text: str) -> dict[str, str]:
    """Return the reference for a field's value.

    >>> source_of("job:job_1")
    {'job': 'job_1'}
    """
    how, _, name = text.partition(":")
    return {how: name}


def value_of(text: str) -> Any:
    """Parse a number, a boolean, or a word.

    >>> [value_of(text) for text in ("0.01", "true", "AdamW", "NaN")]
    [0.01, True, 'AdamW', 'NaN']
    """
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())
