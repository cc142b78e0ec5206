"""Check the console's vendored files: `python tools/vendor_console.py`; `--fetch` downloads them again.

`api/console/static/vendor/manifest.json` names each package with its version and licence, and each file with its
SHA-256. Fetching needs npm, and downloads the packages from its registry with `npm pack`.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).resolve().parents[1] / "api" / "console" / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"


def differing() -> list[str]:
    """Return the files that differ from the manifest, and those that it does not list."""
    named = {name: file["sha256"] for package in _packages() for name, file in package["files"].items()}
    there = {path.name: _sha256(path.read_bytes()) for path in VENDOR.iterdir() if path.name != MANIFEST.name}
    return sorted(name for name in named | there if named.get(name) != there.get(name))


def fetch() -> None:
    """Write every file from its package; refuse packages whose files differ from the manifest."""
    for package in _packages():
        with tempfile.TemporaryDirectory() as folder:
            packed = f"{package['name']}@{package['version']}"
            subprocess.run(["npm", "pack", "--silent", packed], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                for name, file in package["files"].items():
                    member = archive.extractfile(f"package/{file['from']}")
                    content = member.read() if member else b""
                    if (found := _sha256(content)) != file["sha256"]:
                        raise SystemExit(f"expected {packed} {file['from']} with {file['sha256']}, got {found}")
                    (VENDOR / name).write_bytes(content)


def _packages() -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = json.loads(MANIFEST.read_text())["packages"]
    return packages


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    if "--fetch" in sys.argv:
        fetch()
    if names := differing():
        raise SystemExit(f"expected the vendored files of {MANIFEST.name}, got others: {', '.join(names)}")
