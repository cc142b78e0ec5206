"""docs/diagnostics.md against the code."""

import re
from pathlib import Path

import pytest

import rdrkd
from rdrkd.diagnostics.findings import STRONG, WEAK, judge
from rdrkd.diagnostics.guard import STEPS

PACKAGE = Path(rdrkd.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "diagnostics.md").read_text()
BAD = {
    "task/gradient_norm": 1.0,
    "weak/ratio": 1e-9, "weak/gradient_norm": 1e-9, "strong/ratio": 9.0, "strong/gradient_norm": 9.0,
    "regenerated/P2/hidden_cells": 0.0, "regenerated/P2/hidden_channels": 1.0, "teacher/P2/dead_channels": 1.0,
}  # fmt: skip
CODES = {finding.code for finding in judge(BAD, {"weak": 1.0, "strong": 1.0})} | {
    code for file in PACKAGE.rglob("*.py") for code in re.findall(r'Warn\(\s*code="(\w+)"', file.read_text())
}


def test_codes_are_found() -> None:
    assert len(CODES) >= 12


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_warning_has_its_row(code: str) -> None:
    assert re.search(rf"^\| `{code}` \| .+ \| .+ \|$", PAGE, re.MULTILINE)


def test_no_row_is_of_a_warning_that_is_not_given() -> None:
    table = PAGE[PAGE.index("## The warnings") : PAGE.index("## How weights are found")]
    assert set(re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)) == CODES


def test_thresholds_are_the_codes() -> None:
    assert f"ratio is below {WEAK:g}" in PAGE
    assert f"the same is above {STRONG:g}" in PAGE
    assert f"in {STEPS} steps with objects" in PAGE
