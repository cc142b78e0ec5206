"""What a study keeps of a member, read from its run folder."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rdrkd.data.archive import file_sha256
from rdrkd.study.members import Member


def record(member: Member, result: dict[str, Any], folder: Path, teacher: Path) -> dict[str, Any]:
    """Give the record of a finished member: its key, figures, cost, curve, and what it was made with."""
    resolved = json.loads((folder / "resolved_spec.json").read_text())
    alone = not resolved["distillation"]["losses"]
    return {
        "method": member.method,
        "seed": member.seed,
        "hash": member.hash,
        "setting": member.setting,
        **_figures(result),
        "terms": resolved["distillation"],
        "teacher_sha256": None if alone else file_sha256(teacher),
        "curve": (curve := _curve(folder / "metrics.jsonl")),
        "seconds": round(sum(epoch["seconds"] for epoch in curve), 1),  # of training; resumed or not
        "warnings": _warnings(folder / "warnings.jsonl"),
        "versions": _versions(resolved, result),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def record_teacher(result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Give the record of the teacher that a study has trained."""
    resolved = json.loads((folder / "resolved_spec.json").read_text())
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
        "per_class": result["per_class"],
        "student": result["student"],
        "best_epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "memory_bytes": result["memory_bytes"],
    }


def _versions(resolved: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return {**resolved["provenance"]["versions"], "device": result["device"]}


def _curve(path: Path) -> list[dict[str, Any]]:
    """Ultralytics' own validation and the losses by epoch."""
    epochs = [json.loads(line) for line in path.read_text().splitlines()]
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


def _warnings(path: Path) -> list[str]:
    if not path.is_file():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return list(dict.fromkeys(f"{warning['code']}: {warning['message']}" for warning in found))
