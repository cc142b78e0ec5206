"""`rdrkd advise`: from earlier runs where there are, from a few steps where there are none."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rdrkd.data import Dataset


def advise(*arguments: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "rdrkd", "advise", *map(str, arguments), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def run_of(folder: Path, dataset: Dataset, seconds: float, **train: Any) -> None:
    """Leave what a finished run does."""
    folder.mkdir(parents=True)
    spec = {"kind": "distill", "train": {"imgsz": 96, "batch": 8, **train}}
    (folder / "resolved_spec.json").write_text(json.dumps(spec | {"provenance": {"dataset_sha256": dataset.sha256}}))
    result = {"student": {"architecture": "yolov8n-half"}, "memory_bytes": 2**30, "device": "CPU, 2 threads"}
    (folder / "result.json").write_text(json.dumps(result))
    lines = [{"epoch": epoch, "seconds": seconds} for epoch in (1, 2, 3)]
    lines += [{"epoch": 4, "seconds": 1e6, "part": "alone"}]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.slow
def test_earlier_runs_say_what_a_training_takes(scenes: Path, dataset: Dataset, tmp_path: Path) -> None:
    run_of(tmp_path / "runs" / "a", dataset, 2.0)
    run_of(tmp_path / "runs" / "other-size", dataset, 500.0, imgsz=640)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "result.json").write_text("{")
    asked = ("--data", scenes, "--student", "yolov8n-half", "--imgsz", 96, "--runs", tmp_path / "runs")
    status, output = advise(*asked, "--json")
    assert status == 0, output
    found = json.loads(output)
    values = {one["setting"]: one["value"] for one in found["advice"]}
    assert (values["imgsz"], values["batch"], values["student"], values["preset"]) == (96, 8, "yolov8n-half", "rdr-kd")
    (cost,) = found["costs"]
    assert (cost["seconds"], cost["memory_bytes"]) == (2.0 * values["epochs"], 2**30)
    assert cost["basis"].startswith("1 earlier run in ")


def test_an_unknown_architecture_is_refused(scenes: Path) -> None:
    status, output = advise("--data", scenes, "--teacher", "yolov9c")
    assert status != 0
    assert "--teacher expected an architecture of yolov8n" in output.replace("\n", " ")
    assert "got 'yolov9c'; did you mean `yolo" in output.replace("\n", " ")


@pytest.mark.slow
def test_without_history_a_few_steps_are_measured(scenes: Path, tmp_path: Path) -> None:
    asked = ("--data", scenes, "--teacher", "yolov8n", "--runs", tmp_path, "--student", "yolov8n-half")
    status, output = advise(*asked)
    assert status == 0, output
    rows = [line.split("  ")[0] for line in output.splitlines()]
    assert rows[:3] == ["imgsz", "student", "preset"]
    assert rows[-1] == "cost of yolov8n-half"
    assert "measured: 2 steps at batch 1 and 2" in output
