"""What is vendored is what its makers published: each file has the SHA-256 of the manifest, and a licence."""

import json
from pathlib import Path

import pytest

from tools import vendor_console

PACKAGES = json.loads(vendor_console.MANIFEST.read_text())["packages"]
OURS = list(vendor_console.VENDOR.parent.glob("*.js"))


def test_every_file_is_the_published_one() -> None:
    assert vendor_console.differing() == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package["name"])
def test_every_package_has_its_licence(package: dict) -> None:
    assert package["licence"] in ("MIT", "0BSD", "BSD-2-Clause", "Apache-2.0")
    assert any(name.endswith("LICENSE") for name in package["files"])


def test_a_changed_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in vendor_console.VENDOR.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(vendor_console, "VENDOR", tmp_path)
    name = next(iter(PACKAGES[0]["files"]))
    with (tmp_path / name).open("ab") as file:
        file.write(b"\n")
    (tmp_path / "more.js").write_bytes(b"")
    assert vendor_console.differing() == sorted([name, "more.js"])


def test_our_scripts_are_few_and_evaluate_nothing() -> None:
    lines = [line for path in OURS for line in path.read_text().splitlines()]
    assert len(lines) < 800
    assert not [line for line in lines if "innerHTML" in line or "eval(" in line or "new Function" in line]
