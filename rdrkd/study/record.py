"""A study's record of a member, from its run folder or from the service."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rdrkd.run_folder.names import METRICS, RESOLVED, WARNINGS
from rdrkd.study.members import Member


def record(member: Member, result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the record of a finished member from its run folder."""
    resolved = json.loads((folder / RESOLVED).read_text())
    epochs, warnings = _lines(folder / METRICS), _lines(folder / WARNINGS)
    return record_of(member, result, resolved, epochs, warnings, datetime.now(UTC))


def record_of(
    member: Member,
    result: dict[str, Any],
    resolved: dict[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    warnings: Sequence[Mapping[str, Any]],
    finished_at: datetime,
) -> dict[str, Any]:
    """Return the record of a finished member: its key, figures, cost, curve, settings and versions.

    Args:
        member: its key.
        result: the run's result.
        resolved: the run's resolved spec.
        epochs: its epoch events, in order.
        warnings: its warnings: `code`, `message`, `epoch`.
        finished_at: when it ended.
    """
    curve, models = _curve(epochs), resolved["provenance"]["model_sha256"]
    return {
        "method": member.method,
        "seed": member.seed,
        "hash": member.hash,
        "setting": member.setting,
        **({"as_long_as": member.as_long_as, "stretched": member.stretched} if member.as_long_as else {}),
        **_figures(result),
        "terms": resolved.get("distillation"),
        "train": resolved["train"],
        "teacher_sha256": models.get("teacher"),
        "start_sha256": models.get("student") or models.get("model"),
        "curve": curve,
        "seconds": round(sum(epoch["seconds"] for epoch in curve), 1),  # of training, including resumed attempts
        "processor_seconds": _processor_seconds(epochs),
        "warnings": _warnings(warnings),
        "versions": _versions(resolved, result),
        "finished_at": finished_at.isoformat(timespec="seconds"),
    }


def record_teacher(result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the record of a teacher trained by the study."""
    return teacher_record_of(result, json.loads((folder / RESOLVED).read_text()))


def teacher_record_of(result: dict[str, Any], resolved: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a teacher from its run's result and resolved spec."""
    return {
        **_figures(result),
        "sha256": result["weights"]["student.pt"]["sha256"],
        "train": resolved["train"],
        "versions": _versions(resolved, result),
    }


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "metrics": result["metrics"]["coco"],
        "metrics_maxdets500": result["metrics"]["coco_maxdets500"],
        "ultralytics": result["metrics"]["ultralytics"],
        "operating_points": result["metrics"].get("operating_points", {}),  # absent in earlier versions' results
        "per_class": result["per_class"],
        "student": result["student"],
        "best_epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "memory_bytes": result["memory_bytes"],
    }


def _versions(resolved: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return {**resolved["provenance"]["versions"], "device": result["device"]}


def _warnings(warnings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the distinct warnings, each with the epoch of its first occurrence."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for warning in warnings:
        code, message = warning["code"], warning["message"]
        found.setdefault((code, message), {"code": code, "message": message, "epoch": warning.get("epoch")})
    return list(found.values())


def _processor_seconds(epochs: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the total processor time; None if an epoch (of an earlier version) lacks it."""
    each = [epoch.get("processor_seconds") for epoch in epochs]
    return None if None in each else round(sum(value for value in each if value is not None), 1)


def _curve(epochs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return Ultralytics' own validation and the losses by epoch."""
    return [
        {
            "epoch": epoch["epoch"],
            "mAP50_95": epoch["metrics"].get("mAP50_95"),
            "losses": {name: float(f"{value:.5g}") for name, value in epoch["losses"].items()},
            "ratios": {
                name.removesuffix("/ratio"): float(f"{value:.3g}")
                for name, value in epoch["diagnostics"].items()
                if name.count("/") == 1 and name.endswith("/ratio")
            },
            "seconds": epoch["seconds"],
        }
        for epoch in epochs
    ]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
