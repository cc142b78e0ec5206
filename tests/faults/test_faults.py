"""The short form of `make test-faults`: a fixed seed, few jobs, every kind of fault that can be injected here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import sandbox

ROOT = Path(__file__).resolve().parents[2]
BUCKET = ("bucket refuses", "bucket is slow", "bucket cuts", "kill train", "jump clock")


def run(folder: Path, backend: str, jobs: int, least: int, kinds: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a plan in its sandbox, which ends with this process, and return its summary."""
    options = {"backend": backend, "seed": 11, "jobs": jobs, "least": least, "json": folder}
    options["claims-within"] = 30  # thrice the time: other tests share the processors
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.faults", *words, *(["--kinds", *kinds] if kinds else [])]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {sandbox.TIED: "1"}, capture_output=True, text=True)
    print(done.stdout, done.stderr, sep="\n")
    summary: dict[str, Any] = json.loads((folder / f"faults-{backend}-11.json").read_text())
    return summary


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("backend", ["embedded", "servers"])
def test_nothing_is_lost_double_untold_or_wedged(tmp_path: Path, backend: str) -> None:
    summary = run(tmp_path, backend, jobs=60, least=40)
    assert not summary["violations"]
    assert summary["faults"] >= 40
    assert len(summary["faults_by_kind"]) >= 10


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_bucket_that_fails_loses_nothing(tmp_path: Path) -> None:
    summary = run(tmp_path, "bucket", jobs=15, least=8, kinds=BUCKET)
    assert not summary["violations"]
    assert len(summary["faults_by_kind"]) >= 3
