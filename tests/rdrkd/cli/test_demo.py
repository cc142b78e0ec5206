"""The demo: its picture, and the whole of it in small."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import yaml
from rich.console import Console

from rdrkd.cli.demo import RECIPE, Size, demo
from rdrkd.client import Refused
from rdrkd.data import open_dataset
from rdrkd.data.scenes import NAMES, write_scenes
from rdrkd.evaluation.pictures import Drawn, compare
from rdrkd.models import build, load_weights, save_student

ROOT = Path(__file__).parents[3]


def test_nine_of_ten_seeds_of_the_demos_setting_gain() -> None:
    study, size = yaml.safe_load((ROOT / "studies" / "demo.yaml").read_text()), Size()
    assert study["teacher"]["train"] == {**RECIPE, "epochs": size.teacher_epochs}
    assert {**study["train"], "seed": 0} == {**RECIPE, "epochs": size.epochs, "fraction": size.fraction}
    found = json.loads((ROOT / "docs" / "results" / "demo.json").read_text())
    assert found["study"]["train"]["epochs"] == size.epochs
    assert found["study"]["train"]["fraction"] == size.fraction
    aps = {(each["method"], each["seed"]): each["metrics"]["AP"] for each in found["members"]}
    assert sum(aps["rdr-kd", seed] > aps["none", seed] for seed in range(10)) >= 9


@pytest.mark.slow
def test_the_picture_shows_the_truth_and_every_model(tmp_path: Path) -> None:
    scenes = open_dataset(write_scenes(tmp_path / "scenes", "demo", {"train": 1, "val": 5}, 96), tmp_path)
    save_student(build("yolov8n-half", NAMES["demo"]), tmp_path, {})
    drawn = Drawn(tmp_path / "student.pt")
    picture = cv2.imread(str(compare(scenes, {"a": drawn, "b": drawn}, tmp_path / "out.png", 96)))
    assert picture is not None
    assert picture.shape == (30 + 4 * (360 + 6), 3 * 360 + 2 * 6, 3), "a heading and four scenes, in three columns"
    truth, first, second = (picture[30:, at : at + 360].astype(int) for at in (0, 366, 732))
    assert np.abs(truth - first).max() > 100, "boxes are drawn over the truth"
    assert (first == second).all(), "the same weights find the same"


@pytest.mark.slow
def test_the_whole_demo_in_small(tmp_path: Path) -> None:
    written = io.StringIO()
    size = Size(train=48, val=8, teacher_epochs=1, epochs=1, fraction=0.5)
    assert demo(tmp_path / "out", size, Console(file=written, width=140)) == 0
    text = written.getvalue()
    assert [name for name in ("teacher", "student", "student alone") if name not in text] == []
    assert "These are synthetic scenes" in text
    assert load_weights(tmp_path / "out" / "student.pt").architecture == "yolov8n-half"
    assert (tmp_path / "out" / "detections.png").stat().st_size > 10_000
    assert not (tmp_path / "out" / "service").exists()
    ours = [p.info["pid"] for p in psutil.process_iter(["pid", "cmdline"]) if str(tmp_path) in str(p.info["cmdline"])]
    assert ours == [], "the service is gone"


@pytest.mark.slow
def test_a_demo_that_fails_says_so_and_leaves_the_logs(tmp_path: Path) -> None:
    written = io.StringIO()
    with pytest.raises(Refused, match="/train/epochs"):
        demo(tmp_path / "out", Size(train=1, val=1, teacher_epochs=0), Console(file=written))
    assert (tmp_path / "out" / "service" / "up.log").exists()
