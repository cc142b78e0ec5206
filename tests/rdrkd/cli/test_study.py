"""What the commands print; whole studies are run in test_runner.py."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from rdrkd.cli.main import app
from rdrkd.cli.study import Line
from rdrkd.errors import FolderError, MachineError
from rdrkd.events import Progress
from rdrkd.reporter import Memory
from rdrkd.spec.study import Study
from rdrkd.study.results import FORMAT
from rdrkd.study.runner import Order, run_study
from tests.rdrkd.study.test_report import member

LONG = "regenerated+decoupled.with-a-long-name"


def write(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    members = [member(method, seed, seed + ap) for method, ap in (("none", 1.0), (LONG, 2.5)) for seed in (0, 1)]
    members[-1]["metrics"] = dict.fromkeys(members[-1]["metrics"], 9.75)
    content = {"format": FORMAT, "name": "s", "dataset": "d", "dataset_sha256": "1", "members": members}
    (folder / "study.json").write_text(json.dumps(content))
    return folder / "study.json"


@pytest.mark.parametrize("columns", ["80", "50", "200"])
def test_no_name_and_no_figure_is_cut_off_on_a_narrow_terminal(columns: str, tmp_path: Path) -> None:
    command = ["study", "merge", str(write(tmp_path)), "--output", str(tmp_path / "all.json")]
    told = CliRunner().invoke(app, command, env={"COLUMNS": columns})
    assert told.exit_code == 0, told.output
    assert "…" not in told.output
    lines = [line.split() for line in told.output.splitlines() if line.strip().startswith(f"{LONG} ")]
    assert [line[:3] for line in lines] == [[LONG, "2", "+4.62"], [LONG, "2", "6.12"], [LONG, "2", "+4.62"]]
    numbers = {word.strip("(),:[];") for word in told.output.split()}
    assert {"5.13", "-35.08", "+44.33"} <= numbers, "nor is a number folded"


def test_lines_come_before_the_waits_of_a_study(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["study", "run", str(tmp_path / "gone.yaml"), "--out", str(tmp_path / "out")])
    assert told.output.startswith("reading ")
    written = io.StringIO()
    line = Line("none-seed-0", Console(file=written))
    for event in (Progress(phase="preparing"), Progress(phase="training"), Progress(phase="training", completed=2)):
        line.emit(event)
    assert written.getvalue().splitlines() == ["none-seed-0: preparing ...", "none-seed-0: training ..."]


def test_a_device_that_nothing_knows_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    spec = {
        "name": "s", "dataset": "d", "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 1}},
        "student": {"architecture": "yolov8n"}, "methods": ["none"],
    }  # fmt: skip
    with pytest.raises(MachineError, match=r"^expected as device .* got 'gpu'; this machine has `cpu`"):
        run_study(Study.model_validate(spec), Order(tmp_path / "out", device="gpu"), lambda _name: Memory())
    assert not (tmp_path / "out").exists()


def test_a_study_s_folder_is_no_run_folder_and_the_right_command_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "my study"
    file = write(folder)
    told = CliRunner().invoke(app, ["report", str(folder)])
    assert isinstance(told.exception, FolderError)
    assert f"`rdrkd study report '{file}' --out '{folder}'`" in str(told.exception)
    written = CliRunner().invoke(app, ["study", "report", str(file), "--out", str(folder)])
    assert written.exit_code == 0, written.output
    assert (folder / "report.html").is_file()
