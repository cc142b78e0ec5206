"""Prepare a folder of pieces from which a GPU machine without a network can run `make gpu-proof`.

Usage: `python tools/gpu_proof/prepare.py DATASET [--have NAMES] [--out build/gpu-proof] [--piece-mib 56]`.

The pieces contain the dataset and the lock's wheels for Python 3.12 on Linux (x86-64), except PyTorch with its
dependencies, and except the packages in `--have`: the target's `pip list --format=freeze`. Copy the pieces one by one,
in any order; `run.py --pieces` joins them and checks every hash.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("train.txt", "dev.txt")
TEST_TOOLS = {"pytest", "pytest-timeout", "pluggy", "iniconfig", "hypothesis", "sortedcontainers"}
LEFT_OUT = re.compile(
    r"^(torch|torchvision|triton|nvidia-.*|cuda-.*|nncf|onnx.*|openvino.*|ml-dtypes|scikit-learn|setuptools)$"
)
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)] + ["manylinux2014_x86_64"]
MIB = 1 << 20


def pinned(lock: str) -> dict[str, str]:
    """Return the versions that a lock pins for Python 3.12 on Linux, by package."""
    lines = re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?==([^\s;\\]+)([^\\\n]*)", lock, re.MULTILINE)
    return {name: version for name, version, marker in lines if _applies(marker)}


def _applies(marker: str) -> bool:
    from packaging.markers import Marker

    text = marker.strip().lstrip(";").strip()
    target = {
        "python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux",
        "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix",
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip
    return not text or Marker(text).evaluate(target)


def wanted(have: Iterable[str]) -> dict[str, str]:
    """Return the packages to include: those that training and its tests need and the target lacks."""
    train, dev = (pinned((ROOT / "requirements" / name).read_text()) for name in LOCKS)
    every = train | {name: dev[name] for name in TEST_TOOLS & dev.keys()}
    known = {re.sub(r"[-_.]+", "-", line.split("==")[0].strip()).lower() for line in have}
    if "opencv-python-headless" in known:
        known.add("opencv-python")
    return {name: version for name, version in every.items() if name not in known and not LEFT_OUT.match(name)}


def download(packages: dict[str, str], folder: Path) -> None:
    """Download the wheels without their dependencies, since the lock lists these, too."""
    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    names = [f"{name}=={version}" for name, version in sorted(packages.items())]
    subprocess.run(
        [ROOT / ".uv/bin/python", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
         "--python-version", "3.12", "--implementation", "cp", *platforms, "--dest", folder, *names],
        check=True,
    )  # fmt: skip


def write_pieces(files: Iterable[Path], out: Path, size: int) -> None:
    """Split files into pieces of at most `size` bytes, each in a separate folder, with a manifest of hashes."""
    shutil.rmtree(out, ignore_errors=True)
    number, used, manifest = 0, size, []
    for file in sorted(files):
        parts = []
        with file.open("rb") as source:
            while block := source.read(size if used >= size else size - used):
                if used >= size:
                    number, used = number + 1, 0
                    (out / f"piece-{number}").mkdir(parents=True)
                name = f"piece-{number}/{file.name}.{len(parts):03d}"
                (out / name).write_bytes(block)
                used += len(block)
                parts.append(name)
        manifest.append({"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "parts": parts})
    for piece in out.iterdir():  # each piece has the whole manifest
        (piece / "manifest.json").write_text(json.dumps(manifest, indent=1))


def main() -> None:
    """Write the pieces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--have", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-proof")
    parser.add_argument("--piece-mib", type=int, default=56)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as wheels:
        download(wanted(options.have.read_text().splitlines() if options.have else []), Path(wheels))
        write_pieces([options.dataset, *Path(wheels).iterdir()], options.out, options.piece_mib * MIB)
    for piece in sorted(options.out.iterdir()):
        sys.stdout.write(f"{piece}: {sum(file.stat().st_size for file in piece.iterdir()) / MIB:.1f} MiB\n")


if __name__ == "__main__":
    main()
