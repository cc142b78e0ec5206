"""The export formats: names, required packages, and the device on which each is checked."""

import importlib.util
from dataclasses import dataclass

from rdrkd.errors import MachineError, Problem
from rdrkd.spec.exporting import ExportSettings


@dataclass(frozen=True)
class Kind:
    """Properties of a format."""

    name: str  # display name
    file: str  # name of the exported file
    packages: tuple[str, ...]  # import names of the packages that make and run it
    on_gpu: bool  # whether its checks run on the run's device; else on the CPU


KINDS = {
    "onnx": Kind("ONNX", "model.onnx", ("onnx", "onnxslim", "onnxruntime"), on_gpu=False),
    "openvino": Kind("OpenVINO", "model_openvino.zip", ("openvino",), on_gpu=False),
    "torchscript": Kind("TorchScript", "model.torchscript", (), on_gpu=True),
    "engine": Kind("TensorRT", "model.engine", ("tensorrt", "onnx", "onnxslim"), on_gpu=True),
}


def device_of(settings: ExportSettings, device: str) -> str:
    """Return the device on which an export is made and compared with torch.

    Args:
        settings: the export's settings.
        device: the run's device, `cpu` or a GPU's number.

    Raises:
        MachineError: the format cannot be exported on this machine.

    >>> device_of(ExportSettings(format="onnx"), "0")
    'cpu'
    """
    kind = KINDS[settings.format]
    gpu = device.isdecimal()
    if settings.format == "engine" and not gpu:
        raise _refusal(
            "format", f"{kind.name} builds for the GPU at hand: expected an NVIDIA GPU, got the device {device}"
        )
    packages = (*kind.packages, "nncf") if settings.int8 else kind.packages
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise _refusal("format", f"{kind.name} needs {' and '.join(missing)}, which is not installed here")
    if settings.format == "torchscript" and settings.half and not gpu:
        raise _refusal("half", f"{kind.name} in fp16 computes on GPUs only: expected one, got the device {device}")
    return device if kind.on_gpu else "cpu"


def _refusal(field: str, detail: str) -> MachineError:
    return MachineError(f"this machine cannot make the export: {detail}", [Problem(f"/export/{field}", detail)])
