"""A file that is no usable weights file is refused by what it is, with what to do about it."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rdrkd.models import build
from rdrkd.models.foreign_files import refusal_of_content, refusal_of_file
from rdrkd.run.inspection import inspect
from rdrkd.ultralytics_adapter import DetectionModel

Write = Callable[[Path], object]
_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 6534387\n"


def _saved(content: Callable[[], Any], **how: Any) -> Write:
    return lambda path: torch.save(content(), path, **how)


def _network() -> DetectionModel:
    return build("yolov8n-half", ["car"])


def _cut(path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"model": torch.zeros(50_000)}, buffer)
    path.write_bytes(buffer.getvalue()[:-3000])


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("images/train/a.png", b"")


def _torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as opened:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            opened.writestr(f"yolov8n/{name}", b"")


def _yolov5(path: Path) -> None:
    """Write a pickle that refers to a class of YOLOv5's repository, as its checkpoints do."""
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("best/data.pkl", b"\x80\x02cmodels.yolo\nDetectionModel\n)\x81.")
        opened.writestr("best/version", b"3\n")
        opened.writestr("best/byteorder", b"little")


_HEADER = json.dumps({"description": "Ultralytics engine"}).encode()
KINDS: dict[str, tuple[Write, str]] = {
    "git-lfs": (lambda p: p.write_text(_POINTER), "a Git LFS pointer to a file of 6534387 bytes"),
    "web page": (lambda p: p.write_text("\n<!DOCTYPE html><html></html>"), "a web page"),
    "json": (lambda p: p.write_text('{"message": "Not Found"}'), "JSON"),
    "text": (lambda p: p.write_text("Not Found"), "a text, beginning with b'Not Found'"),
    "empty": (lambda p: p.write_bytes(b""), "an empty file"),
    "noise": (lambda p: p.write_bytes(bytes(range(200, 240))), "other data"),
    "onnx": (lambda p: p.write_bytes(b"\x08\x09\x12\x07pytorch\x1a\x052.9.0"), "an ONNX model"),
    "engine": (lambda p: p.write_bytes(b"ftrt" + bytes(90)), "a TensorRT engine"),
    "ultralytics engine": (
        lambda p: p.write_bytes(len(_HEADER).to_bytes(4, "little") + _HEADER + b"ftrt"),
        "a TensorRT engine as Ultralytics exports it",
    ),
    "tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(90)), "a TensorFlow Lite model"),
    "keras": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)), "an HDF5 file"),
    "archive": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(90)), "an archive"),
    "zip": (_zip, "a zip archive that torch did not write"),
    "torchscript": (_torchscript, "a TorchScript archive"),
    "cut short": (_cut, "cut short or damaged"),
    "safetensors": (lambda p: save_file({"x": torch.zeros(2)}, p), "safetensors under another name"),
    "old format": (_saved(lambda: {"model": 1}, _use_new_zipfile_serialization=False), "the format of torch before"),
    "yolov5": (_yolov5, "a YOLOv5 or YOLOv7 checkpoint of its own repository (it refers to models.yolo.Det"),
    "state dict": (_saved(lambda: _network().state_dict()), "bare tensors (a state dict)"),
    "named state dict": (_saved(lambda: {"epoch": 3, "state_dict": _network().state_dict()}), "bare tensors"),
    "state dict as model": (_saved(lambda: {"model": _network().state_dict()}), "bare tensors"),
    "tensor": (_saved(lambda: torch.zeros(3)), "a pickled Tensor"),
    "list": (_saved(lambda: [1, 2]), "a pickled list"),
    "numbers": (_saved(lambda: {"epoch": 3, "best": 0.5}), "a dictionary of best, epoch"),
    "network": (_saved(lambda: {"model": nn.Sequential(nn.Conv2d(3, 8, 1))}), "a network of another kind"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_says_what_was_recognised_what_was_expected_and_what_to_do(tmp_path: Path, kind: str) -> None:
    write, what = KINDS[kind]
    path = tmp_path / f"{'0' * 64}.pt"
    write(path)
    (problem,) = inspect(path, name="my best.pt")["problems"]
    assert problem["where"] == "my best.pt"
    assert path.stem not in problem["detail"]
    assert problem["detail"].startswith("expected an Ultralytics checkpoint")
    assert f"got {what}" in problem["detail"] or what in problem["detail"].partition(", got ")[2]
    assert "; " in problem["detail"].partition(", got ")[2], "what to do"


def test_whole_checkpoints_are_left_to_their_reader(tmp_path: Path) -> None:
    torch.save({"model": torch.zeros(2)}, tmp_path / "a.pt")
    save_file({"x": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "b.pt").write_bytes(pickle.dumps({"model": 1}, protocol=2))
    for name in ("a.pt", "a.safetensors", "b.pt"):
        assert refusal_of_file(tmp_path / name) is None


class SegmentationModel(nn.Module):
    """Named as Ultralytics' own."""


class v10Detect(nn.Module):  # noqa: N801 - Ultralytics' name
    """Named as Ultralytics' head of YOLOv10."""


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (SegmentationModel, "an Ultralytics model for segmentation (SegmentationModel)"),
        (lambda: _with_head(v10Detect()), "YOLOv10, whose head (v10Detect) this version cannot distil"),
    ],
)
def test_other_tasks_and_heads_are_named(make: Callable[[], nn.Module], what: str) -> None:
    assert f"got {what}; " in refusal_of_content({"ema": None, "model": make()})


def _with_head(head: nn.Module) -> nn.Module:
    model = _network()
    model.model[-1] = head
    return model
