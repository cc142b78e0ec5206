"""The bench: every kind of step trains, and the summary is right."""

import dataclasses
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from rdrkd.cli.bench import (
    ALONE,
    KINDS,
    bench,
    build_method_steps,
    build_recipe_steps,
    build_steps,
    measure,
    presets_of,
    setting_for,
    summary,
)
from rdrkd.errors import SpecError
from rdrkd.run import cost
from rdrkd.spec import TABLE_1, Preset


@pytest.mark.slow
def test_every_kind_of_step_is_timed_once_a_round() -> None:
    setting = dataclasses.replace(setting_for("cpu"), teacher="yolov8n", student="yolov8n-half", imgsz=64, batch=1)
    steps = build_steps(setting)
    *_, samples = measure(steps, 2, setting.device, Console(file=io.StringIO()))
    assert list(samples) == list(KINDS)
    assert all(len(times) == 2 and min(times) > 0 for times in samples.values())


@pytest.mark.slow
def test_presets_are_timed_beside_the_student_alone() -> None:
    setting = dataclasses.replace(setting_for("cpu"), teacher="yolov8n", student="yolov8n-half", imgsz=64, batch=1)
    steps, beside = build_method_steps(setting, [Preset.PKD, Preset.PKD_DKD, Preset.DKD])
    *_, samples = measure(steps, 2, setting.device, Console(file=io.StringIO()), time.process_time)
    assert list(samples) == [*ALONE, "pkd", "pkd+dkd", "dkd"]
    assert all(len(times) == 2 and min(times) > 0 for times in samples.values())
    # a 1x1 convolution without bias at each of P3 to P5
    adapters = 32 * 64 + 64 * 128 + 128 * 256
    assert beside == {"pkd": adapters, "pkd+dkd": adapters, "dkd": 0}


def test_methods_are_named_by_preset_or_group() -> None:
    assert presets_of("table1,cwd") == TABLE_1[1:]
    with pytest.raises(SpecError, match=r"expected methods among .*'table1'.*'cwd'.*, got 'cw'"):
        presets_of("cwd,cw")
    with pytest.raises(SpecError, match="beside the student alone"):
        presets_of("none")


def test_ratios_are_taken_within_a_round() -> None:
    # A machine that slows down fourfold in the middle leaves the ratio as it is.
    figures = summary({"student": [10.0, 10.0, 40.0, 40.0], "rdr_kd": [20.0, 20.0, 80.0, 80.0]})
    assert figures["ratios_to_student"]["rdr_kd"] == {"median": 2.0, "p25": 2.0, "p75": 2.0}
    assert figures["milliseconds"]["rdr_kd"] == {"median": 50.0, "p25": 20.0, "p75": 80.0}


@pytest.mark.slow
def test_the_report_says_under_what_circumstances(tmp_path: Path) -> None:
    assert bench(tmp_path, 3, "cpu", Console(file=io.StringIO())) == 0
    report = json.loads((tmp_path / "bench-cpu.json").read_text())
    assert report["setting"]["student"] == "yolov8n"
    assert set(report["ratios_to_student"]) == set(KINDS)
    assert report["ratios_to_student"]["student"]["median"] == 1.0
    assert {"torch", "ultralytics", "rdrkd", "python"} == set(report["versions"])
    assert (report["rounds"], report["complete"]) == (3, True)


@pytest.mark.slow
def test_a_bench_that_is_killed_leaves_the_rounds_it_had_finished(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rdrkd", "bench", "--device", "cpu", "--rounds", "100000", "--output", tmp_path]
    report, target = {"rounds": 0}, tmp_path / "bench-cpu.json"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while report["rounds"] < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            report = json.loads(target.read_text()) if target.exists() else report
        process.kill()
    report = json.loads(target.read_text())
    assert report["rounds"] >= 2
    assert report["complete"] is False
    assert len(report["samples_milliseconds"]["rdr_kd"]) == report["rounds"]


@pytest.mark.slow
def test_parts_of_a_step_are_measured_with_their_memory() -> None:
    setting = dataclasses.replace(setting_for("cpu"), teacher="yolov8n", student="yolov8n-half", imgsz=64, batch=1)
    named = cost.recipes()
    assert {f"method {preset}" for preset in TABLE_1[1:-1]} <= set(named)
    chosen = ("regenerated P2", "regenerated P5", "option bottleneck, without P2")
    found = cost.peaks(build_recipe_steps(setting, {name: named[name] for name in chosen}), "cpu")
    assert list(found) == list(chosen)
    assert all(peak > 1 for peak in found.values())


def test_peak_memory_is_what_is_there_at_once() -> None:
    """By hand: two blocks of 8 MiB at once, then one of 4 MiB."""

    def step() -> None:
        both = torch.empty(1 << 21), torch.empty(1 << 21)
        del both
        torch.empty(1 << 20)

    assert cost.peaks({"step": step}, "cpu")["step"] == pytest.approx(16, abs=0.1)


@pytest.mark.slow  # two trainings
def test_an_epoch_through_the_product_is_timed_beside_plain_ultralytics() -> None:
    found = cost.epochs("yolov8n", 64, 8, "cpu", repeats=1)
    assert {who: len(seconds) for who, seconds in found["seconds"].items()} == {"product": 2, "ultralytics": 2}
    assert 0.3 < found["ratio"] < 3


def test_a_gpu_has_no_processor_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SpecError, match="expected the CPU for processor time, got cuda:0"):
        bench(tmp_path, 3, "0", Console(file=io.StringIO()), processor_time=True)


@pytest.mark.slow
def test_the_report_of_methods_says_what_they_train(tmp_path: Path) -> None:
    assert bench(tmp_path, 3, "cpu", Console(file=io.StringIO()), [Preset.MGD], processor_time=True) == 0
    report = json.loads((tmp_path / "bench-methods-cpu.json").read_text())
    assert set(report["ratios_to_student"]) == {*ALONE, "mgd"}
    assert report["trained_beside_student"]["mgd"] > 1e6
    assert report["clock"] == "processor"


@pytest.mark.gpu
def test_the_gpu_pair_is_measured(tmp_path: Path) -> None:
    assert bench(tmp_path, 3, "0", Console(file=io.StringIO())) == 0
    report = json.loads((tmp_path / "bench-cuda.json").read_text())
    assert (report["setting"]["teacher"], report["setting"]["amp"]) == ("yolov8l", True)
