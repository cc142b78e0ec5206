"""A service's object for people: a line for each fact that they need; `--json` prints everything."""

from collections.abc import Iterator, Mapping
from typing import Any

from rdrkd.cli.terminal import readable
from rdrkd.figures import duration
from rdrkd.summary import classes, summary

_LEFT_OUT = ("object", "links", "sha256", "spec", "resolved_spec", "names", "lineage", "files", "body")
_MOST = 20  # problems, warnings or members to list
_PARTS = ("method", "seed", "where", "code", "number")  # what begins the line of an entry in a list


def facts_of(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a heading and a text for each fact: values that are nothing, false or empty are left out.

    >>> facts_of({"id": "ds_1", "shared": False, "size": 2048, "problems": [{"where": "a.txt:1", "detail": "x"}]})
    [('id', 'ds_1'), ('size', '2.0 KiB'), ('problem', 'a.txt:1: x')]
    """
    return [(heading.replace("_", " "), text) for heading, text in _facts(shown) if text]


def content_of(report: Mapping[str, Any]) -> str:
    """Return what the check of an upload found in it, in a line; empty if it could not be read.

    >>> content_of({"architecture": "yolov8n", "parameters": 3_010_000, "names": ["car"]})
    'yolov8n, 3.0 M parameters, 1 class (car)'
    """
    names = report.get("names") or ()
    if report.get("statistics"):
        return summary(names, report["statistics"])
    if "parameters" not in report:
        return ""
    architecture = report.get("architecture") or "an unnamed architecture"
    return f"{architecture}, {report['parameters'] / 1e6:.1f} M parameters, {classes(names)}"


def _facts(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in shown.items():
        if name in _LEFT_OUT or value is None or value is False:
            continue
        if name == "report" and "job" not in value:  # of an upload's check
            yield "content", content_of(value)
            yield from (("warning", text) for text in value.get("warnings", ())[:_MOST])
        elif name.endswith("_seconds"):
            yield name.removesuffix("_seconds"), duration(value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield from ((name.removesuffix("s"), _line(entry)) for entry in value[:_MOST])
            yield name, f"and {len(value) - _MOST} more" if len(value) > _MOST else ""
        elif isinstance(value, Mapping) and "job" in value:  # a member of a study, or its report
            yield name, _line(value)
        else:
            yield name, readable(name, value)


def _line(entry: Mapping[str, Any]) -> str:
    """Return an entry of a list in a line.

    >>> _line({"method": "cwd", "seed": 1, "job": "job_1", "status": "running", "reason": None, "epoch": 3})
    'cwd 1: job_1, running, epoch 3'
    """
    start = " ".join(str(entry[name]) for name in _PARTS if name in entry)
    plain = ("job", "status", "detail", "message", "reason", "kind")
    rest = [
        text if name in plain else f"{name.replace('_', ' ')} {text}"
        for name, value in entry.items()
        if name not in (*_PARTS, *_LEFT_OUT) and (text := _text(name, value))
    ]
    return ": ".join(filter(None, (start, ", ".join(rest))))


def _text(name: str, value: Any) -> str:
    """Return a value within a line: of a list of objects, what each says."""
    if isinstance(value, list):
        return "; ".join(str(one.get("detail", "")) if isinstance(one, Mapping) else str(one) for one in value)
    return readable(name, value)
