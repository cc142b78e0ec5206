import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rdrkd.errors import ModelError
from rdrkd.models import build, load_weights, save_student
from tests.shared import need

# What a user has: Ultralytics, and nothing of this project.
_STRANGER = """
import importlib.abc, os, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rdrkd", "api", "worker"):
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Wall())
import numpy
from ultralytics import YOLO
model = YOLO(sys.argv[1])
model.predict(numpy.zeros((96, 96, 3), dtype="uint8"), imgsz=96, verbose=False)
print(",".join(model.names.values()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["yolov8n-half", "yolo26n"])
def test_the_student_comes_back_from_both_formats(architecture: str, tmp_path: Path) -> None:
    model = build(architecture, ["car", "bus"])
    assert save_student(model, tmp_path, {"epochs": 3}) == ["student.pt", "student.safetensors"]
    for name in ("student.pt", "student.safetensors"):
        loaded = load_weights(tmp_path / name)
        assert (loaded.names, loaded.architecture) == (("car", "bus"), architecture)
        for key, value in loaded.model.state_dict().items():
            torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-3, atol=1e-3)  # half precision


@pytest.mark.slow
@pytest.mark.parametrize("safe", ["0", "1"])
def test_the_student_predicts_where_only_ultralytics_is(safe: str, tmp_path: Path) -> None:
    save_student(build("yolov8n-half", ["car", "bus"]), tmp_path, {})
    environment = {**os.environ, "ULTRALYTICS_SAFE_LOAD": safe}
    environment.pop("PYTHONPATH", None)
    answer = subprocess.run(
        [sys.executable, "-c", _STRANGER, str(tmp_path / "student.pt")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "car,bus"


def test_the_student_tells_nothing_of_its_host(tmp_path: Path) -> None:
    model = build("yolov8n-half", ["car"])
    model.yaml["yaml_file"] = str(tmp_path / "yolov8n-half.yaml")
    model.pt_path = str(tmp_path / "start.pt")
    save_student(model, tmp_path, {"epochs": 3})
    for name in ("student.pt", "student.safetensors"):
        assert str(tmp_path).encode() not in (tmp_path / name).read_bytes()


def test_saving_changes_nothing(tmp_path: Path) -> None:
    model = build("yolov8n-half", ["car"]).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    save_student(model, tmp_path, {})
    assert model.training
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if "dfl" not in name)
    for key, value in model.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key])


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "model.pt"
    torch.save({"model": _Runs(marker)}, path)
    with pytest.raises(ModelError, match="expected an Ultralytics checkpoint"):
        load_weights(path)
    path.write_bytes(pickle.dumps({"model": _Runs(marker)}))
    with pytest.raises(ModelError):
        load_weights(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.pt", b""), ("model.pt", b"hello"), ("model.safetensors", b"hello"), ("model.onnx", b"x")],
)
def test_a_file_that_is_no_model_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="expected a"):
        load_weights(tmp_path / name)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    save_student(build("yolov8n-half", ["car"]), tmp_path, {})
    path = tmp_path / "student.pt"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="cannot be read"):
        load_weights(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = build("yolov8n-half", ["car"])
    with torch.no_grad():
        model.model[0].conv.weight[0] = float("nan")
    save_student(model, tmp_path, {})
    with pytest.raises(ModelError, match="finite"):
        load_weights(tmp_path / "student.pt")


def test_a_hollow_model_is_refused(tmp_path: Path) -> None:
    hollow = build("yolov8n-half", ["car"])
    del hollow.model
    torch.save({"model": hollow}, tmp_path / "HOLLOW.PT")
    with pytest.raises(ModelError, match="expected an Ultralytics checkpoint"):
        load_weights(tmp_path / "HOLLOW.PT")


def test_a_fused_model_is_refused_with_a_hint(tmp_path: Path) -> None:
    model = build("yolov8n-half", ["car"]).eval().fuse(verbose=False)
    torch.save({"model": model}, tmp_path / "fused.pt")
    with pytest.raises(ModelError, match="fused"):
        load_weights(tmp_path / "fused.pt")


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="header metadata"):
        load_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("foreign", ["foreign_leyolo_nano.pt", "foreign_yolov5n.pt"])
@pytest.mark.parametrize("rename", [None, "yolov5n.pt"])
def test_real_checkpoints_of_other_projects_are_refused(foreign: str, rename: str | None, tmp_path: Path) -> None:
    path = tmp_path / (rename or foreign)
    path.symlink_to(need(f"weights/{foreign}"))
    with pytest.raises(ModelError, match="expected an Ultralytics checkpoint"):
        load_weights(path)


def test_a_real_pretrained_checkpoint_loads() -> None:
    loaded = load_weights(need("weights/yolov8n_coco_rebuilt_from_int8.pt"))
    assert loaded.architecture == "yolov8n"
    assert len(loaded.names) == 80


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["yolov8n", "yolo26n"])
def test_a_class_branch_as_wide_as_its_start_weights_comes_back(architecture: str, tmp_path: Path) -> None:
    start = build(architecture, [f"class {index}" for index in range(80)])
    model = build(architecture, ["a", "b", "c"])
    narrow = model.model[-1].cv3[0][-1].in_channels
    model.load(start, verbose=False)  # Ultralytics widens the branch to that of the weights
    assert model.model[-1].cv3[0][-1].in_channels > narrow
    before = torch.get_rng_state()
    written = save_student(model, tmp_path, {})
    for name in written:
        loaded = load_weights(tmp_path / name)
        assert loaded.names == ("a", "b", "c")
        tensors = loaded.model.state_dict()
        assert all(torch.equal(tensors[key], value.half().float()) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "\0", "x" * 1_000_000])
def test_names_that_cannot_be_shown_are_refused(name: str, tmp_path: Path) -> None:
    model = build("yolov8n-half", ["car"])
    model.names = {0: name}
    torch.save({"model": model}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="expected class names of at most 200 printable characters") as refused:
        load_weights(tmp_path / "a.pt")
    assert len(str(refused.value)) < 300


def test_a_network_without_its_configuration_is_refused(tmp_path: Path) -> None:
    model = build("yolov8n-half", ["car"])
    del model.yaml
    torch.save({"model": model}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="expected an Ultralytics checkpoint"):
        load_weights(tmp_path / "a.pt")
