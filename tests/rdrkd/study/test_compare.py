import json
import shutil
from pathlib import Path

import pytest

from rdrkd.data import open_dataset
from rdrkd.errors import SpecError
from rdrkd.study.compare import compare
from tests.rdrkd.study.test_report import member

FOUND = {
    "format": 1, "name": "s", "dataset": "d", "dataset_sha256": "1", "commands": ["study stu_1"], "teachers": {},
    "study": {"train": {"imgsz": 96}}, "members": [member("none", 0, 1.0), member("rdr-kd", 0, 2.0)],
}  # fmt: skip


def test_a_report_is_drawn_from_what_the_service_has_laid_out(scenes: Path, teacher_path: Path, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(FOUND))
    (tmp_path / "weights").mkdir()
    for name in ("0-none.pt", "1-regenerated+decoupled.pt"):
        shutil.copy(teacher_path, tmp_path / "weights" / name)
    made = compare(tmp_path, open_dataset(scenes, tmp_path / "cache"))
    assert made["members"] == 2
    assert set(made["files"]) == {
        "report.md", "report.html", "members.csv", "curves.png", "differences.png", "panel.png",
    }  # fmt: skip
    assert all((tmp_path / name).stat().st_size for name in made["files"])


def test_without_weights_there_is_no_panel_and_without_results_no_report(scenes: Path, tmp_path: Path) -> None:
    dataset = open_dataset(scenes, tmp_path / "cache")
    with pytest.raises(SpecError, match="a study's results"):
        compare(tmp_path, dataset)
    (tmp_path / "study.json").write_text(json.dumps(FOUND))
    assert "panel.png" not in compare(tmp_path, dataset)["files"]
