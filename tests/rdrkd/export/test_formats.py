"""What cannot be made is refused before anything is: with the field, what was expected and what came."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from rdrkd.errors import MachineError
from rdrkd.export import formats
from rdrkd.export.formats import KINDS, device_of
from rdrkd.spec import ExportSettings
from rdrkd.spec.exporting import Format


def test_tensorrt_needs_a_gpu() -> None:
    with pytest.raises(MachineError, match="expected an NVIDIA GPU, got the device cpu") as refused:
        device_of(ExportSettings(format="engine"), "cpu")
    assert [problem.where for problem in refused.value.problems] == ["/export/format"]


def test_half_precision_of_torchscript_needs_a_gpu() -> None:
    with pytest.raises(MachineError, match="fp16") as refused:
        device_of(ExportSettings(format="torchscript", half=True), "cpu")
    assert [problem.where for problem in refused.value.problems] == ["/export/half"]
    assert device_of(ExportSettings(format="torchscript", half=True), "0") == "0"


def test_eight_bits_need_a_package_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found(name) if name != "nncf" else None)
    assert device_of(ExportSettings(format="openvino"), "cpu") == "cpu"
    with pytest.raises(MachineError, match="OpenVINO needs nncf, which is not installed here"):
        device_of(ExportSettings(format="openvino", int8=True), "cpu")


def test_a_format_whose_packages_are_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = formats.Kind("ONNX", "model.onnx", ("onnx", "surely_not_there"), on_gpu=False)
    monkeypatch.setitem(KINDS, "onnx", kind)
    with pytest.raises(MachineError, match="ONNX needs surely_not_there, which is not installed here"):
        device_of(ExportSettings(format="onnx"), "cpu")


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_what_runs_on_processors_is_checked_there_also_beside_a_gpu(form: Format) -> None:
    assert device_of(ExportSettings(format=form), "0") == "cpu"


TELLS_NOBODY = """
import socket, sys
def refuse(*_args, **_more): raise AssertionError("called out")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from rdrkd.export.exporter import silence_openvino
silence_openvino()
import openvino.tools.ovc.telemetry_utils as telemetry
import nncf.telemetry.wrapper as nncf
print(telemetry.tm.__name__, type(nncf.telemetry).__name__)
"""


@pytest.mark.slow
def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    environment |= {"YOLO_OFFLINE": "True", "YOLO_AUTOINSTALL": "False", "YOLO_CONFIG_DIR": str(tmp_path / "config")}
    (tmp_path / "config").mkdir()
    done = subprocess.run([sys.executable, "-c", TELLS_NOBODY], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "openvino.tools.ovc.telemetry_stub MagicMock"  # what nncf has in its place
    assert not (tmp_path / "intel").exists()  # where the package would note whom it has told
