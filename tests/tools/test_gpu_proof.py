"""The proof on a GPU: its pieces, and the whole of it in toy size, for on the real machine there is no second try."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tools" / "gpu_proof" / "run.py"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gpu_proof_{name}", ROOT / "tools" / "gpu_proof" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_pieces_are_bounded_and_join_to_the_same_files(tmp_path: Path) -> None:
    prepare = load("prepare")
    contents = {"data.zip": os.urandom(2500), "a.whl": os.urandom(900), "b.whl": b"", "c.whl": os.urandom(1000)}
    source = tmp_path / "source"
    source.mkdir()
    for name, content in contents.items():
        (source / name).write_bytes(content)
    prepare.write_pieces(source.iterdir(), tmp_path / "pieces", 1000)
    pieces = sorted((tmp_path / "pieces").iterdir())
    assert len(pieces) == 5
    for piece in pieces:
        assert sum(f.stat().st_size for f in piece.iterdir() if f.name != "manifest.json") <= 1000
    manifest = json.loads((pieces[0] / "manifest.json").read_text())
    joined = {e["file"]: b"".join((tmp_path / "pieces" / p).read_bytes() for p in e["parts"]) for e in manifest}
    assert joined == contents


def test_wheels_are_what_the_target_lacks() -> None:
    wanted = load("prepare").wanted(["numpy==2.5.2", "opencv_python.headless==5.0", "PyYAML==6.0.3"])
    assert {"ultralytics", "pydantic", "faster-coco-eval", "pytest"} <= wanted.keys()
    assert not {"numpy", "opencv-python", "pyyaml", "torch", "triton", "nvidia-cublas"} & wanted.keys()


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_toy_goes_through_every_stage(tmp_path: Path) -> None:
    command = [sys.executable, RUN, "--toy", "--seconds", "240", "--out", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=450)
    proof = json.loads((tmp_path / "proof.json").read_text())
    stages = {stage["stage"]: stage["status"] for stage in proof["stages"]}
    assert list(stages) == ["scenes", "tests", "bench", "bench-everything", "probe", "members"]
    assert "failed" not in stages.values(), proof
    assert ended.returncode == 0, ended.stdout
    assert proof["versions"]["ultralytics"]
