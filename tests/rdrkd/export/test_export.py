"""Exports are made, opened by their own runtimes, and told apart from torch by figures that are measured."""

import ctypes
import gc
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch

from rdrkd.data import Dataset
from rdrkd.errors import PairError, StopRequested
from rdrkd.evaluation.evaluate import evaluate
from rdrkd.events import Warn
from rdrkd.export.agreement import inputs
from rdrkd.export.formats import KINDS
from rdrkd.export.networks import of_torch
from rdrkd.export.run import export
from rdrkd.files import file_sha256
from rdrkd.models import build, load_weights, save_student
from rdrkd.reporter import Memory
from rdrkd.run.run import Inputs, run
from rdrkd.spec import JOB_SPEC, ExportSettings
from rdrkd.spec.exporting import Format
from tests.rdrkd.export.conftest import IMGSZ

QUICK = {"imgsz": IMGSZ, "images": 4, "repeats": 10, "conf": 0.05}


def exported(weights: Path, data: Dataset, folder: Path, **settings: Any) -> tuple[dict[str, Any], Memory]:
    memory = Memory()
    return export(weights, data, ExportSettings(**QUICK | settings), folder, memory, "cpu"), memory


def outputs(form: str, file: Path, images: list[torch.Tensor], folder: Path) -> list[torch.Tensor]:
    """Run the file that is handed out with the runtime alone: neither Ultralytics nor anything of ours."""
    if form == "onnx":
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return [torch.from_numpy(session.run(None, {"images": image.numpy()})[0]) for image in images]
    if form == "openvino":
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
        found = next(folder.glob("*_openvino_model/*.xml"))
        compiled = openvino.Core().compile_model(found, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return [torch.from_numpy(np.array(next(iter(compiled(image.numpy()).values())))) for image in images]
    with torch.inference_mode():
        module = torch.jit.load(str(file))
        return [module(image) for image in images]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino", "torchscript"])
def test_the_file_does_by_itself_what_torch_does(
    form: Format, data: Dataset, lively_path: Path, tmp_path: Path
) -> None:
    result, _ = exported(lively_path, data, tmp_path, format=form)

    file = tmp_path / KINDS[form].file
    told = result["export"]
    assert told["file"] == {"name": file.name, "sha256": file_sha256(file), "size": file.stat().st_size}
    assert str(tmp_path).encode() not in file.read_bytes()
    images = list(inputs(map(data.read, data.images("val")[:3]), IMGSZ, IMGSZ))
    ours = of_torch(load_weights(lively_path), "cpu")
    for image, got in zip(images, outputs(form, file, images, tmp_path / "unpacked"), strict=True):
        wanted = ours(image)
        assert got.shape == wanted.shape
        torch.testing.assert_close(got[:, :4], wanted[:, :4], atol=0.5, rtol=0)  # px
        torch.testing.assert_close(got[:, 4:], wanted[:, 4:], atol=2e-3, rtol=0)
    assert told["agreement"]["images"] == 4
    latency = told["latency"]
    assert (latency["batch"], latency["imgsz"], latency["repeats"]) == (1, IMGSZ, 10)
    assert latency["processor"]
    assert latency["threads"] == torch.get_num_threads()
    for name in ("torch", "exported"):
        assert 0 < latency[name]["q1_ms"] <= latency[name]["median_ms"] <= latency[name]["q3_ms"]
    if latency["exported"]["computes_in"] == "fp32":
        assert told["agreement"]["boxes_px"]["max_abs"] < 0.5
        assert told["agreement"]["scores"]["max_abs"] < 2e-3


@pytest.mark.slow
def test_an_open_shape_takes_images_of_other_sizes(data: Dataset, lively_path: Path, tmp_path: Path) -> None:
    result, _ = exported(lively_path, data, tmp_path, format="onnx", dynamic=True)

    told = result["export"]
    assert told["dynamic"]
    elsewhere = told["agreement_elsewhere"]
    shape = (elsewhere["batch"], elsewhere["height"], elsewhere["width"])
    assert shape == (2, IMGSZ + 32, IMGSZ + 64)
    for agreed in (told["agreement"], elsewhere):
        assert agreed["images"] == 4
        assert agreed["boxes_px"]["max_abs"] < 0.5
        assert agreed["scores"]["max_abs"] < 2e-3
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert float(session.get_modelmeta().custom_metadata_map["confidence"]) == told["confidence"]
    assert told["confidence"] == told["torch"]["metrics"]["operating_points"]["best_f1"]["confidence"]
    ours = of_torch(load_weights(lively_path), "cpu")
    for height, width in ((64, 160), (192, 128)):
        images = torch.cat(list(inputs(map(data.read, data.images("val")[:3]), height, width)))
        got = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        wanted = ours(images)
        assert got.shape == wanted.shape
        torch.testing.assert_close(got[:, :4], wanted[:, :4], atol=0.5, rtol=0)  # px
        torch.testing.assert_close(got[:, 4:], wanted[:, 4:], atol=2e-3, rtol=0)


@pytest.mark.parametrize("form", ["openvino", "torchscript", "engine"])
def test_only_onnx_leaves_its_shape_open(form: Format) -> None:
    with pytest.raises(ValueError, match="expected the format onnx") as refused:
        ExportSettings(format=form, dynamic=True)
    assert refused.value.errors()[0]["loc"] == ("dynamic",)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_half_the_size_and_ap_is_measured_again(form: Format, data: Dataset, trained: Path, tmp_path: Path) -> None:
    sizes = {}
    for half in (False, True):
        (folder := tmp_path / str(half)).mkdir()
        result, _ = exported(trained, data, folder, format=form, half=half)
        sizes[half] = result["export"]["file"]["size"]
        assert result["export"]["half"] is half
        whole = result["metrics"]["coco"]["AP"] - result["export"]["torch"]["metrics"]["coco"]["AP"]
        assert result["export"]["ap_difference"] == pytest.approx(whole, abs=1e-3)
        assert abs(whole) < 2  # percent points
    assert sizes[True] < 0.65 * sizes[False]


@pytest.mark.slow
def test_eight_bits_are_calibrated_on_the_train_split(data: Dataset, trained: Path, tmp_path: Path) -> None:
    results = {}
    for int8 in (False, True):
        (folder := tmp_path / str(int8)).mkdir()
        results[int8], memory = exported(trained, data, folder, format="openvino", int8=int8, calibration=6)
    told = results[True]["export"]
    assert told["int8"] == {"images": 6, "split": "train"}
    assert told["file"]["size"] < 0.6 * results[False]["export"]["file"]["size"]
    assert told["latency"]["exported"]["computes_in"].startswith("int8")
    assert told["ap_difference"] is not None
    found = told["agreement"]["detections"]
    assert found["matched"] > 0.5 * found["torch"] > 0
    assert "export_precision" not in [event.code for event in memory.events if isinstance(event, Warn)]


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"format": "onnx"}, "int8"), ({"half": True}, "half"), ({"split": "train"}, "split")],
)
def test_what_does_not_go_with_eight_bits_is_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        ExportSettings(**({"format": "openvino", "int8": True} | settings))
    assert [error["loc"] for error in refused.value.errors()] == [(field,)]


@pytest.mark.slow
def test_ap_after_export_is_that_of_the_evaluator_of_trainings(data: Dataset, trained: Path, tmp_path: Path) -> None:
    result, _ = exported(trained, data, tmp_path, format="onnx")
    assert set(result["metrics"]) == {"coco", "coco_maxdets500", "ultralytics", "operating_points"}
    assert set(result["per_class"]) == set(data.names)
    by_torch = result["export"]["torch"]["metrics"]
    assert by_torch["coco"]["AP"] > 0
    assert result["metrics"]["coco"] == pytest.approx(by_torch["coco"], abs=0.05, nan_ok=True)
    # A training's own evaluation keeps the images' proportions: close to it, and not the same.
    own = evaluate(trained, data, IMGSZ, 8, "val", "cpu")
    assert set(own["coco"]) == set(by_torch["coco"])
    found = result["export"]["agreement"]["detections"]
    assert found["matched"] == found["torch"] == found["exported"] > 0


@pytest.mark.slow
def test_another_precision_than_torchs_is_told(data: Dataset, lively_path: Path, tmp_path: Path) -> None:
    result, memory = exported(lively_path, data, tmp_path, format="openvino")
    told = [event.code for event in memory.events if isinstance(event, Warn)]
    assert ("export_precision" in told) == (result["export"]["latency"]["exported"]["computes_in"] != "fp32")


def test_weights_of_other_classes_are_refused_before_anything_is_made(data: Dataset, tmp_path: Path) -> None:
    (folder := tmp_path / "other").mkdir()
    save_student(build("yolov8n-half", ["tank"]), folder, {})
    with pytest.raises(PairError, match="tank"):
        exported(folder / "student.pt", data, tmp_path, format="torchscript")
    assert not list(tmp_path.glob("model*"))


class Stack(ctypes.Structure):
    """`stack_t` of sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> tuple[int | None, int, int]:
    """Return the stack on which this thread's signals are handled."""
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.address, stack.flags, stack.size


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
def test_a_signal_after_an_export_finds_a_stack(data: Dataset, lively_path: Path, tmp_path: Path) -> None:
    before = signal_stack()
    exported(lively_path, data, tmp_path, format="openvino")
    gc.collect()
    assert signal_stack() == before  # else a stop, which comes as a signal, would kill the process


def test_it_stops_when_it_is_asked(data: Dataset, lively_path: Path, tmp_path: Path) -> None:
    memory = Memory()
    memory.stop = True
    with pytest.raises(StopRequested):
        export(lively_path, data, ExportSettings(format="torchscript", **QUICK), tmp_path, memory, "cpu")


@pytest.mark.slow
def test_a_run_of_an_export_leaves_its_result_and_gives_it_again(
    data: Dataset, lively_path: Path, tmp_path: Path
) -> None:
    spec = {"kind": "export", "dataset": str(data.root), "model": {"path": str(lively_path)}}
    job = JOB_SPEC.validate_python(spec | {"export": QUICK | {"format": "torchscript"}})
    memory = Memory()
    result = run(job, tmp_path, memory, Inputs(device="cpu"))
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert result["kind"] == "export"
    assert result["student"]["architecture"] == "yolov8n-half"
    assert "exporting" in {event.phase for event in memory.of("progress")}
    assert run(job, tmp_path, Memory(), Inputs(device="cpu")) == result
