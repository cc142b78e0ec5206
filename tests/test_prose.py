"""Phrases that take two readings stay out of documents, docstrings and messages, as far as a machine finds them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PHRASES = re.compile(
    r"\b((gone|goes|go) on with|(is|are) told|tells of|of one's own|what (becomes|came) of|let go|takes? along"
    r"|lets? (it|them|an? \w+|entries) go|(checkpoint|report)s? stands?(?! for))\b",
    re.IGNORECASE,
)
PLACES = {
    "documents": [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs/methods").glob("*.md"),
    ],
    "api": (ROOT / "api").rglob("*.py"),
    "worker": (ROOT / "worker").rglob("*.py"),
    "rdrkd": (ROOT / "rdrkd").rglob("*.py"),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_phrase_takes_two_readings(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in PLACES[place]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if PHRASES.search(line)
    ]
    assert found == []


UNUSUAL = re.compile(r"\b(go(es)? on|gone on|told(?! apart)|tells? of|comes? upon|begins? anew)\b", re.IGNORECASE)
NOT_IMPERATIVE = re.compile(r"(give|gives|giving|say|says|tell|tells|that)\b", re.IGNORECASE)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if text := ast.get_docstring(node):
            yield node.body[0].lineno, text


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("package", ["api", "worker", "rdrkd"])
def test_docstrings_begin_with_what_a_function_does(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in (ROOT / package).rglob("*.py")
        for line, text in docstrings(path)
        if NOT_IMPERATIVE.match(text)
    ]
    assert found == []


@pytest.mark.parametrize("package", ["api", "worker", "rdrkd"])
def test_docstrings_and_comments_use_plain_verbs(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in (ROOT / package).rglob("*.py")
        for line, text in (*docstrings(path), *comments(path))
        if UNUSUAL.search(text)
    ]
    assert found == []
