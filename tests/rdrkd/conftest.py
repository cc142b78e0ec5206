"""A tiny dataset and a tiny trained-looking teacher, made once."""

from pathlib import Path

import pytest
import torch

from rdrkd.data import Dataset, open_dataset
from rdrkd.data.scenes import write_scenes
from rdrkd.models import build, save_student
from tests.rdrkd.lively import lively


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data YAML of twelve training and four validation scenes."""
    out = tmp_path_factory.mktemp("scenes") / "demo"
    return write_scenes(out, "demo", {"train": 12, "val": 4}, 96, seed=1)


@pytest.fixture(scope="session")
def dataset(scenes: Path) -> Dataset:
    return open_dataset(scenes, scenes.parent)


@pytest.fixture(scope="session")
def teacher_path(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a YOLOv8n for the scenes' classes: random, but lively, so that its maps and scores differ by image."""
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("teacher")
    save_student(lively(build("yolov8n", dataset.names)), folder, {})
    return folder / "student.pt"
