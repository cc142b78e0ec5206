"""The sessions of docs/transcripts.md: run as they stand, and what they print is what the page shows.

`python -m tests.end_to_end.test_transcripts` runs them and writes what they printed into the page.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT

PAGE = ROOT / "docs" / "transcripts.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^A file, ([\w.]+):\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "@@ next command"
PORT = "8765"


def sections() -> dict[str, str]:
    """Return the page's sessions by their heading."""
    heading, *parts = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    assert heading.startswith("# ")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def commands(block: str) -> Iterator[list[str]]:
    """Yield each command of a session, as its lines with their prompts."""
    command: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield command
            command = [line]
        elif line.startswith("> "):
            command.append(line)
    yield command


def play(section: str, folder: Path) -> str:
    """Run the session of a section in a folder; give its block with what the commands printed."""
    for name, content in FILE.findall(section):
        (folder / name).write_text(content)
    [block] = BLOCK.findall(section)
    session = list(commands(block))
    script = "".join("\n".join(line[2:] for line in command) + f"\necho '{MARK}'\n" for command in session)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RDRKD_")}
    environment = kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    try:
        ran = subprocess.run(
            ["bash", "-s"], input=script, cwd=folder, env=environment, text=True, timeout=400,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    finally:
        subprocess.run(
            [sys.executable, "-m", "rdrkd", "down", "--data-dir", folder / "var"], cwd=ROOT, capture_output=True
        )
    printed = ran.stdout.split(f"{MARK}\n")
    assert len(printed) == len(session) + 1, ran.stdout
    return "".join("\n".join(command) + "\n" + out for command, out in zip(session, printed, strict=False))


def essence(block: str) -> list[str]:
    """Mask ids and numbers, and leave out how often a job told of its progress."""
    masked = re.sub(r"\d+(\.\d+)?", "N", re.sub(r"\b(job|ds|mdl)_[0-9a-f]{32}", r"\1_ID", block))
    lines = [re.sub(r" {2,}", " ", line.strip()) for line in masked.splitlines()]
    return [
        line for line in lines if not re.match(r"job_ID: (queued|starting|running)|N event: (progress|warning)", line)
    ]


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
@pytest.mark.parametrize("heading", list(sections()))
def test_a_session_prints_what_the_page_shows(heading: str, tmp_path: Path) -> None:
    section = sections()[heading]

    printed = play(section, tmp_path)

    assert essence(printed) == essence(BLOCK.findall(section)[0])
    assert (tmp_path / "student.pt").stat().st_size > 10**6


def write(play: Callable[[str, Path], str] = play) -> None:
    """Run every session and write the page anew."""
    page = PAGE.read_text()
    for section in sections().values():
        with tempfile.TemporaryDirectory() as folder:
            printed = play(section, Path(folder))
        page = page.replace(BLOCK.findall(section)[0], printed)
    PAGE.write_text(page)


if __name__ == "__main__":
    write()
