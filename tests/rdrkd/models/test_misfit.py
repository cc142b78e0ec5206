"""Checkpoints that were changed after training are refused with what was done to them; odd class names are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rdrkd.data import open_dataset
from rdrkd.errors import DatasetError, ModelError
from rdrkd.models import build, load_weights
from rdrkd.models.pairs import check_classes
from rdrkd.ultralytics_adapter import DetectionModel
from tests.rdrkd.data.crafted import make_dataset


@pytest.fixture
def network() -> DetectionModel:
    return build("yolov8n-half", ["car", "van"])


def saved(model: object, folder: Path) -> Path:
    torch.save({"model": model, "ema": None, "train_args": {}}, folder / "a.pt")
    return folder / "a.pt"


def renamed(model: Any) -> None:
    model.model[0].kernel = model.model[0].conv
    del model.model[0].conv


def widened(model: Any) -> None:
    model.model[0].conv = nn.Conv2d(3, model.model[0].conv.out_channels, 5, bias=False)


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "fused": (lambda m: m.eval().fuse(verbose=False), "got a fused one, .* use the checkpoint from before `fuse"),
    "renamed": (renamed, r"1 missing \(model\.0\.conv\.weight\); 1 not in it \(model\.0\.kernel\.weight\)"),
    "widened": (widened, r"1 of another shape \(model\.0\.conv\.weight: .*3, 3\) expected and .*5, 5\) found\)"),
    "one name": (lambda m: setattr(m, "names", {0: "car"}), "a name for each of the 2 classes .* got 1 names"),
    "gap": (lambda m: setattr(m, "names", {0: "car", 2: "van"}), "under the numbers 0 to 1, got the keys 0, 2"),
    "from 1": (lambda m: setattr(m, "names", {1: "car", 2: "van"}), "under the numbers 0 to 1, got the keys 1, 2"),
    "mixed": (lambda m: setattr(m, "names", {0: "car", "x": "van"}), "got the keys 0, 'x'"),
    "text": (lambda m: setattr(m, "names", "car"), "class names by class number, got str"),
    "none": (lambda m: delattr(m, "names"), "class names by class number, got NoneType"),
    "no yaml": (
        lambda m: delattr(m, "yaml"),
        "got a network without its configuration",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_was_changed_is_said(tmp_path: Path, network: DetectionModel, kind: str) -> None:
    change, message = CHANGES[kind]
    change(network)
    with pytest.raises(ModelError, match=message):
        load_weights(saved(network, tmp_path))


@pytest.mark.parametrize("whole", [True, False])
def test_a_bare_network_is_said_to_be_one(tmp_path: Path, network: DetectionModel, whole: bool) -> None:
    torch.save(network if whole else {"model": network.model}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"got the bare layers of a network.*YOLO\(\.\.\.\)\.save"):
        load_weights(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "names", [{"0": "car", "1": "van"}, {1: "van", 0: "car"}, ["car", "van"], {0.0: "car", 1.0: "van"}]
)
def test_class_names_are_read_in_every_form(tmp_path: Path, network: DetectionModel, names: Any) -> None:
    network.names = names
    assert load_weights(saved(network, tmp_path)).names == ("car", "van")


@pytest.mark.parametrize(("of_teacher", "of_dataset"), [(" café", "cafe\u0301 "), ("cafe\u0301", "café")])
def test_a_teachers_names_are_compared_as_a_datasets_are(
    tmp_path: Path, network: DetectionModel, of_teacher: str, of_dataset: str
) -> None:
    network.names = {0: of_teacher, 1: "van "}
    text = f"train: images/train\nval: images/val\nnames: ['{of_dataset}', van]\n"
    dataset = open_dataset(make_dataset(tmp_path / "d", text), tmp_path)
    check_classes(load_weights(saved(network, tmp_path)), dataset.names)


def test_a_checkpoint_named_as_a_dataset_is_recognised(tmp_path: Path, network: DetectionModel) -> None:
    archive = saved(network, tmp_path).rename(tmp_path / "dataset.zip")
    with pytest.raises(DatasetError, match="got a model's checkpoint"):
        open_dataset(archive, tmp_path / "cache")
