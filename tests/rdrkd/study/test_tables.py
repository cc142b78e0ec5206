from pathlib import Path
from typing import Any

import pytest

from rdrkd.errors import DatasetError, FolderError, SpecError
from rdrkd.spec import TABLE_2
from rdrkd.study import tables
from rdrkd.study.specfile import read_study
from rdrkd.study.tables import write_table_study

TRAIN: dict[str, Any] = {"epochs": 2, "imgsz": 64, "batch": 4}


def write(out: Path, **changes: Any) -> Path:
    options = {"dataset": str(out.parent / "scenes"), "teacher": "yolov8l", "student": "yolov8n", "seeds": 2}
    return write_table_study("table2", out=out, train=TRAIN, **{**options, **changes})


def test_a_table_is_a_study_that_can_be_read_and_changed(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    study = read_study(write(tmp_path / "out"))
    assert (study.name, study.dataset, study.seeds) == ("table2-scenes", str(tmp_path / "scenes"), (0, 1))
    assert [method.name for method in study.each_method] == [
        *map(str, TABLE_2),
        "none@time",
        "none@lr-half",
        "none@lr-double",
        "none@p2",
        "none@imgsz",
    ]
    assert study.teacher.train == study.train
    assert study.train.epochs == 2
    assert write(tmp_path / "out") == tmp_path / "out" / "study.yaml"


def test_trained_weights_are_used_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    (tmp_path / "t.pt").touch()
    study = read_study(write(tmp_path / "out", teacher=str(tmp_path / "t.pt"), student=str(tmp_path / "t.pt")))
    assert study.teacher.train is None
    assert study.student.path == str(tmp_path / "t.pt")


def test_a_refused_command_leaves_nothing_in_the_way_of_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    with pytest.raises(SpecError, match="1 option of the study"):
        write(tmp_path / "out", dataset=str(tmp_path / "my data"), teacher="nope.pt")
    assert not (tmp_path / "out").exists()
    study = read_study(write(tmp_path / "out", dataset=str(tmp_path / "my data")))
    assert study.name == "table2-my-data"


def test_a_study_that_was_changed_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    file = write(tmp_path / "out")
    file.write_text(file.read_text().replace("epochs: 2", "epochs: 3"))
    with pytest.raises(FolderError, match="rdrkd study run"):
        write(tmp_path / "out")
    assert "epochs: 3" in file.read_text()


def test_a_refused_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        write_table_study("table2", "d", tmp_path / "out", "yolov8l", "yolov8n", 1, {"imgsz": 65})
    assert {problem.where for problem in refused.value.problems} == {"--imgsz", "dataset"}
    assert not (tmp_path / "out").exists()


def test_a_dataset_of_that_name_is_downloaded_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def fetch(folder: Path) -> Path:
        asked.append(folder)
        raise DatasetError("no network")

    monkeypatch.setattr(tables, "fetch_visdrone", fetch)  # the download itself: tests/rdrkd/data/test_download.py
    with pytest.raises(DatasetError, match="no network"):
        write(tmp_path / "out", dataset="VisDrone")
    assert asked == [tmp_path / "out" / "datasets"]
