"""Weights to export, and the images that they know: trained on real ones where they are at hand."""

from pathlib import Path

import pytest
import torch

from rdrkd.data import Dataset, open_dataset
from rdrkd.models import build, save_student
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from rdrkd.spec import JOB_SPEC
from tests.rdrkd.datasets import tiny_dataset
from tests.rdrkd.lively import lively
from tests.shared import find

IMGSZ = 96
START = find("weights/yolov8n_coco_rebuilt_from_int8.pt")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return open_dataset(tiny_dataset(folder), folder / "cache")


@pytest.fixture(scope="session")
def lively_path(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random network whose scores differ by image."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("lively")
    save_student(lively(build("yolov8n-half", data.names)), folder, {})
    return folder / "student.pt"


@pytest.fixture(scope="session")
def trained(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds something: from pretrained weights where they are at hand, else from scratch for longer."""
    model = {"path": str(START)} if START else {"architecture": "yolov8n-half"}
    train = {"epochs": 3 if START else 40, "imgsz": IMGSZ, "batch": 8, "nbs": 8, "optimizer": "AdamW", "lr0": 0.003}
    train |= {"warmup_epochs": 0, "mosaic": 0.0, "workers": 0}
    spec = {"kind": "train", "dataset": str(data.root), "model": model, "train": train}
    folder = tmp_path_factory.mktemp("trained")
    run(JOB_SPEC.validate_python(spec), folder, Memory(), Inputs(device="cpu"))
    return folder / "student.pt"
