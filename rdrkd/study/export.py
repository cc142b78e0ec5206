"""A study's members as CSV, one line per member."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rdrkd.study.results import FIGURES

_PLAIN = (
    "seconds",
    "processor_seconds",
    "epochs",
    "best_epoch",
    "memory_bytes",
    "teacher_sha256",
    "jobs",
    "finished_at",
)
HEADER = (
    "method", "seed", "hash", "setting", *FIGURES, *(f"{name}_maxdets500" for name in FIGURES), "mAP50_95", "mAP50",
    "student", "parameters", "gflops", *_PLAIN,
)  # fmt: skip


def as_csv(members: Sequence[Mapping[str, Any]]) -> str:
    """Return the members' figures (percent), cost and keys; missing values are empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for member in members:
        writer.writerow(["" if value is None else value for value in _line(member)])
    return buffer.getvalue()


def _line(member: Mapping[str, Any]) -> list[Any]:
    wide, own = member.get("metrics_maxdets500", {}), member.get("ultralytics", {})
    student = member["student"]
    return [
        member["method"], member["seed"], member["hash"], member["setting"],
        *(member["metrics"][name] for name in FIGURES), *(wide.get(name) for name in FIGURES),
        own.get("mAP50_95"), own.get("mAP50"), student["architecture"], student["parameters"], student["gflops"],
        *(member.get(name) for name in _PLAIN),
    ]  # fmt: skip
