"""Run folders written by hand, and what a page of HTML holds."""

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

SPEC: dict[str, Any] = {
    "kind": "distill",
    "name": "n from l",
    "dataset": "/data/scenes.zip",
    "teacher": {"path": "/models/teacher.pt"},
    "student": {"architecture": "yolov8n"},
    "distillation": {"losses": [{"name": "decoupled", "layers": "fpn", "weight": 0.1}], "calibration": None},
    "train": {"epochs": 4},
    "provenance": {"versions": {"rdrkd": "0.1.0", "torch": "2.13.0"}, "device": "cpu"},
}
RESULT: dict[str, Any] = {
    "best_epoch": 2,
    "metrics": {
        "coco": {"AP": 12.34, "AP50": 30.1, "AP75": 9.9, "AP_S": 5.5, "AP_M": 20.2, "AP_L": None},
        "coco_maxdets500": {"AP": 12.56, "AP50": 30.3, "AP75": 9.8, "AP_S": 5.6, "AP_M": 20.1, "AP_L": None},
        "ultralytics": {"mAP50_95": 11.11, "mAP50": 29.9, "precision": 41.2, "recall": 33.3},
    },
    "per_class": {"car": {"AP": 22.2, "AP50": 44.4}, "tram": {"AP": None, "AP50": None}},
    "student": {"architecture": "yolov8n", "parameters": 3_011_043},
}


def epoch(number: int, ratio: float = 0.5, **changes: Any) -> dict[str, Any]:
    """A line of `metrics.jsonl` of a run with one term."""
    line = {
        "event": "epoch", "epoch": number, "epochs": 4, "lr": 0.01 / number, "seconds": 2.0,
        "losses": {"box": 4.0 / number, "cls": 3.0 / number, "dfl": 1.0, "decoupled": 812.0 / number},
        "weights": {"decoupled": 0.1},
        "diagnostics": {
            "task/gradient_norm": 8.0, "batch/objects": 40.0 + number, "batch/foreground": 0.021,
            "decoupled/gradient_norm": 8.0 * ratio, "decoupled/ratio": ratio, "decoupled/cosine": 0.3 / number,
            "decoupled/P3": 500.0 / number, "decoupled/P3/gradient_norm": 3.0, "decoupled/P3/ratio": 0.9 * ratio,
            "decoupled/P4": 312.0 / number, "decoupled/P4/gradient_norm": 1.0, "decoupled/P4/ratio": 0.2 * ratio,
            "teacher/P3/dead_channels": 0.25, "student/P3/dead_channels": 0.0,
            "teacher/P4/dead_channels": 0.0, "student/P4/dead_channels": 0.0,
        },
        "metrics": {"mAP50_95": 5.0 * number, "mAP50": 9.0 * number},
    }  # fmt: skip
    return {**line, **changes}


def write_folder(
    folder: Path,
    epochs: list[dict[str, Any]],
    spec: dict[str, Any] | None = None,
    warnings: Sequence[tuple[str, str] | tuple[str, str, Any]] = (),
    result: dict[str, Any] | None = None,
) -> Path:
    """Write a run folder by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolved_spec.json").write_text(json.dumps(SPEC if spec is None else spec))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in epochs))
    if warnings:
        lines = (dict(zip(("code", "message", "epoch"), warning, strict=False)) for warning in warnings)
        (folder / "warnings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if result:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


class Page(HTMLParser):
    """A page that was parsed, with every start tag closed again.

    Attributes:
        tags: the names of its elements.
        links: the values of attributes that could fetch something.
        style: its CSS.
        text: what is read, in order.
    """

    _VOID = {"meta"}
    _FETCHING = {"href", "xlink:href", "src", "srcset", "data", "action", "poster", "background"}

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.style = ""
        self.open: list[str] = []
        self._text: list[str] = []
        self.feed(file.read_text())
        self.close()
        assert not self.open, f"never closed: {self.open}"

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in self._FETCHING]
        self.style += " ".join(value or "" for name, value in attrs if name in ("style", "clip-path"))
        assert not [name for name, _ in attrs if name.startswith("on")], "no event handlers"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self._text.append(data)
