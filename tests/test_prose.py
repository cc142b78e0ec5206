"""Phrases that take two readings stay out of documents, docstrings and messages, as far as a machine finds them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PHRASES = re.compile(
    r"\b((gone|goes|go) on with|(is|are) told|tells of|of one's own|what becomes of)\b",
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
