"""The documents name only what exists; docs/paper_map.md leaves out no equation, no ambiguity and no setting."""

import ast
import re
import typing
from functools import cache
from pathlib import Path

import pytest

from rdrkd.spec import PAPER
from rdrkd.spec import TERMS as ALL_TERMS

TERMS = {name: ALL_TERMS[name] for name in PAPER}  # the comparators are not of this paper
ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
PAGES = [page for pattern in ("*.md", "methods/*.md") for page in (ROOT / "docs").glob(pattern)]
OTHERS = "".join(page.read_text(encoding="utf-8") for page in PAGES)
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.py)(?::([\w.]+))?`", TEXT + OTHERS)))
FIELDS = set(re.findall(rf"`({'|'.join(TERMS)})\.(\w+)`", TEXT))


def rows_of(heading: str) -> dict[int, str]:
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (lines,) = [part.splitlines() for part in section if part.startswith(heading)]
    return {int(line.split("|")[1]): line for line in lines if re.match(r"\| \d+ \|", line)}


@cache
def definitions(file: str) -> dict[str, str]:
    """Source of every function, class and method of a file, by name."""
    source = (ROOT / file).read_text(encoding="utf-8")
    found: dict[str, str] = {}

    def visit(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found[prefix + node.name] = ast.get_source_segment(source, node) or ""
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(source).body, "")
    return found


@pytest.mark.parametrize(("file", "name"), REFERENCES)
def test_what_the_map_names_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert not name or name in definitions(file)


def test_every_equation_is_above_the_line_that_computes_it_and_has_a_test() -> None:
    equations = rows_of("Equations")
    assert list(equations) == list(range(1, 12))
    for number, row in equations.items():
        named = re.findall(r"`([\w/]+\.py):([\w.]+)`", row)
        code = [definitions(file)[name] for file, name in named if not file.startswith("tests/")]
        assert any(re.search(rf"# Eq\. {number}\b", source) for source in code), f"Eq. {number}"
        assert any(file.startswith("tests/") for file, _ in named), f"Eq. {number}"


def test_every_ambiguity_has_its_row() -> None:
    assert list(rows_of("Ambiguities")) == list(range(22))


def test_the_map_names_every_setting_of_the_terms_and_no_other() -> None:
    settings = {(term, field) for term, model in TERMS.items() for field in model.model_fields if field != "name"}
    assert settings == FIELDS


def test_the_map_names_every_choice() -> None:
    ambiguities = rows_of("Ambiguities").values()
    for term, model in TERMS.items():
        for field, info in model.model_fields.items():
            choices = [choice for choice in typing.get_args(info.annotation) if isinstance(choice, str)]
            if choices and field != "name":
                row = " ".join(row for row in ambiguities if f"`{term}.{field}`" in row)
                assert [choice for choice in choices if f"`{choice}`" not in row] == [], f"{term}.{field}"
