"""docs/quickstart.ipynb: it is what is committed, and it runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_the_notebook_is_plain_python_without_outputs() -> None:
    content = json.loads(NOTEBOOK.read_text())
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell in cells("code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        compile("".join(cell["source"]), cell["id"], "exec")  # no magics: it runs outside of Jupyter, too


@pytest.mark.slow
def test_the_notebook_runs_from_an_empty_folder(tmp_path: Path) -> None:
    """Cell by cell in one interpreter, as a kernel does."""
    program = "".join(f"# {cell['id']}\n{''.join(cell['source'])}\n" for cell in cells("code"))
    (tmp_path / "quickstart.py").write_text(program)
    command = [sys.executable, "quickstart.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    firsts = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert {"teacher", "alone", "student"} <= set(firsts)
    assert (tmp_path / "quickstart-output" / "student" / "student.pt").is_file()
    assert " boxes in " in done.stdout
