"""A client that another tool generates from docs/openapi.json is complete, and takes a job from upload to weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, Service

UV = ROOT / ".uv" / "bin" / "uv"
REQUIREMENTS = ROOT / "requirements" / "generator.txt"
CONFIG = ROOT / "docs" / "generators" / "openapi-python-client.yaml"
METHODS = {"get", "put", "post", "patch", "delete", "head", "options"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment that has the generator, which cannot share ours (`typer`)."""
    if not UV.exists():
        pytest.skip("needs the uv of `make install`")
    folder = tmp_path_factory.mktemp("generator")
    for command in (
        ["venv", "--quiet", "--python", sys.executable, folder],
        ["pip", "install", "--quiet", "--python", folder / "bin" / "python", "--requirement", REQUIREMENTS],
    ):
        subprocess.run([UV, *command], check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def client(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that holds the generated package."""
    folder = tmp_path_factory.mktemp("client")
    document = ["--path", ROOT / "docs" / "openapi.json", "--config", CONFIG, "--meta", "none"]
    command = [python.parent / "openapi-python-client", "generate", *document, "--output-path", folder / "rdrkd_client"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_operation_is_generated(client: Path) -> None:
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    operations = {op["operationId"] for methods in paths.values() for name, op in methods.items() if name in METHODS}
    assert {file.stem for file in client.glob("rdrkd_client/api/*/*.py")} - {"__init__"} == operations


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_a_generated_client_takes_a_job_from_upload_to_weights(
    service: Service, client: Path, python: Path, scenes: Path, tmp_path: Path
) -> None:
    for name in ("reaper", "inspect", "train"):
        service.start(name)
    session = Path(__file__).with_name("generated_session.py")
    student = tmp_path / "student.pt"
    arguments = [f"http://127.0.0.1:{service.port}", "e2e-token", scenes, student]
    environment = {"PYTHONPATH": str(client), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([python, session, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["valid:", "True", "status:", "succeeded"]
    assert student.read_bytes()[:2] == b"PK"
