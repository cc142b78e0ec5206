"""docs/methods: a page for each term, whose table has the parameters and defaults of the spec."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rdrkd.spec import PRESETS, TERMS, Preset

FOLDER = Path(__file__).parents[3] / "docs" / "methods"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md") if path.stem != "README"}
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
BENCH = json.loads((FOLDER / "bench-methods-cpu.json").read_text(encoding="utf-8"))
SECTIONS = ["Formula", "On a YOLO head", "Needs", "Parameters", "When to choose it", "Cost"]


def written(value: Any) -> str:
    if isinstance(value, str):
        return f"`{value}`"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


def test_every_term_has_its_page() -> None:
    assert set(PAGES) == set(TERMS)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_has_every_section_and_names_code_and_preset(name: str) -> None:
    assert re.findall(r"^## (.+)$", PAGES[name], re.MULTILINE) == SECTIONS
    assert f"`rdrkd/losses/{name}.py`" in PAGES[name]
    assert [term.name for term in PRESETS[Preset(name)].terms] == [name]
    assert "Measured cost: see [README](README.md)." in PAGES[name]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_has_the_parameters_and_defaults_of_the_spec(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", PAGES[name], re.MULTILINE)
    fields = {key: written(info.default) for key, info in TERMS[name].model_fields.items() if key != "name"}
    assert len(rows) == len(dict(rows))
    assert dict(rows) == fields


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_index_has_a_row_for_each_page(name: str) -> None:
    assert re.search(rf"^\| \[`{name}`\]\({name}\.md\) \|", INDEX, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(BENCH["trained_beside_student"]))
def test_the_index_has_the_measured_cost(name: str) -> None:
    spread = BENCH["ratios_to_student"][name]
    (row,) = re.findall(rf"^\| (?:\[`{re.escape(name)}`\]\(\w+\.md\)|`{re.escape(name)}`) \|.*$", INDEX, re.MULTILINE)
    assert f"| {spread['median']:.2f} ({spread['p25']:.2f}-{spread['p75']:.2f}) |" in row


def test_the_index_has_the_command_that_measured() -> None:
    assert " ".join(BENCH["command"]) in INDEX
