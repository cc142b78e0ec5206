"""The programs of a deployment describe themselves, and start nothing when they are called in an unknown way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CALLS = {"api": (), "api.reaper": (), "worker": ("--queue", "train")}
WRONG = {"api": "bogus", "api.reaper": "bogus", "worker": "--bogus"}


def call(module: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RDRKD_DATA_DIR": str(folder / "var")}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("module", CALLS)
def test_help_is_printed_and_nothing_starts(module: str, tmp_path: Path) -> None:
    result = call(module, "--help", folder=tmp_path)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: python -m {module} ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("module", "wrong"), WRONG.items())
def test_unknown_arguments_are_refused_and_nothing_starts(module: str, wrong: str, tmp_path: Path) -> None:
    result = call(module, *CALLS[module], wrong, folder=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    assert wrong in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
