"""The wheel, as `pip install rdrkd` gets it: in an environment of its own, without the checkout on its path."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdrkd import __version__

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from the checkout, without a network."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", out]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    [built] = out.glob("rdrkd-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel; its dependencies are those of this environment, in which the checkout itself is left out."""
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=300)
    uv = [ROOT / ".uv" / "bin" / "uv", "pip", "install", "--quiet", "--no-deps", "--offline", "--python", folder, wheel]
    subprocess.run(uv, check=True, timeout=300)
    return folder / "bin"


def run(installed: Path, cwd: Path, *command: str) -> str:
    """Run a command of the environment; what PYTHONPATH names is searched without its .pth files: no checkout."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": sysconfig.get_path("purelib")}
    done = subprocess.run(
        [installed / command[0], *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _tracked() -> Iterator[str]:
    listing = subprocess.run(
        ["git", "ls-files", "rdrkd", "api", "worker"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    yield from listing.stdout.splitlines()


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert sorted(set(_tracked()) - held) == []
    assert not [name for name in held if name.startswith("tests/")]


@pytest.mark.slow
def test_what_is_installed_runs_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "python", "-c", "import rdrkd, api; print(rdrkd.__file__); print(api.__file__)")
    assert all(Path(line).is_relative_to(installed.parent) for line in where.splitlines()), where
    assert run(installed, tmp_path, "rdrkd", "--version").strip() == __version__
    assert '"oneOf"' in run(installed, tmp_path, "rdrkd", "schema")

    run(installed, tmp_path, "rdrkd", "up", "--data-dir", "var", "--port", "0", "--detach")
    try:
        url = (tmp_path / "var" / "up.pid").read_text().split()[1]
        assert run(installed, tmp_path, "rdrkd", "jobs", "list", "--json", "--url", url) == ""  # tables are there
        script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        assert "RDR-KD" in run(installed, tmp_path, "python", "-c", script, f"{url}/")
    finally:
        run(installed, tmp_path, "rdrkd", "down", "--data-dir", "var")
